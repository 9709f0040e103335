//! [`Timed`]: a request's body whose sender may not pause for long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

/// A body that fails once nothing of it came for a while. The proxy has limits of its own; routers
/// wait for a body as long as it lasts.
pub(super) struct Timed<B> {
    body: B,
    over: Option<Pin<Box<Sleep>>>,
}

/// How long a client may pause (contract of the platform, section 1.4; nginx's
/// `client_body_timeout`).
const PAUSE: Duration = Duration::from_secs(60);

impl<B> Timed<B> {
    pub(super) const fn new(body: B) -> Self {
        Self { body, over: None }
    }
}

impl<B: Body + Unpin> Body for Timed<B>
where
    B::Error: Into<axum::BoxError>,
{
    type Data = B::Data;
    type Error = axum::BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.over = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.over.get_or_insert_with(|| Box::pin(sleep(PAUSE))).as_mut().poll(context));
        Poll::Ready(Some(Err("the client stopped in the middle of a body".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// Whether a body whose frames come after these pauses, in seconds, is read to its end.
    async fn is_read(pauses: &[u64]) -> bool {
        let frames = stream::iter(pauses.to_vec()).then(|pause| async move {
            sleep(Duration::from_secs(pause)).await;
            Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x")))
        });
        Timed::new(StreamBody::new(Box::pin(frames))).collect().await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_may_be_slow_but_not_stop() {
        assert!(is_read(&[]).await);
        assert!(is_read(&[0, 59, 59, 59]).await);
        assert!(!is_read(&[0, 61]).await);
    }
}
