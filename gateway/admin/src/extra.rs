//! Paths of parts this crate does not know: plugins and the like.

use crate::answer::Answer;
use crate::body::Payload;
use crate::dispatch::Call;
use crate::nested::{Page, Resource};
use crate::{ExtraAnswer, ExtraCall, ExtraPage};

/// The page a path names, with what stands in its braces.
pub(crate) fn find(pages: &[ExtraPage], segments: &[String]) -> Option<Resource> {
    pages.iter().find_map(|page| {
        let parameters = parameters(page.path, segments)?;
        Some(Resource::Page(Page::Extra(page.clone(), parameters)))
    })
}

fn parameters(path: &str, segments: &[String]) -> Option<Vec<String>> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if parts.len() != segments.len() {
        return None;
    }
    let mut found = Vec::new();
    for (part, segment) in parts.into_iter().zip(segments) {
        if part.starts_with('{') {
            found.push(segment.clone());
        } else if part != segment {
            return None;
        }
    }
    Some(found)
}

pub(crate) async fn serve(
    call: &Call<'_>,
    page: &ExtraPage,
    parameters: &[String],
    payload: &Payload,
) -> Answer {
    let mut answer = {
        let member = |name: &str| payload.member(name);
        let (catalog, method) = (&call.catalog, call.method);
        (page.serve)(ExtraCall { catalog, method, parameters, member: &member })
    };
    loop {
        match answer {
            ExtraAnswer::Json(value) => return Answer::ok(value),
            ExtraAnswer::Status(status, value) => return Answer::json(status, value),
            ExtraAnswer::NoContent => return Answer::no_content(),
            ExtraAnswer::NotFound => return Answer::not_found(),
            ExtraAnswer::Wait(wait) => answer = wait.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parameters;

    #[test]
    fn a_part_in_braces_takes_anything() {
        let check = |path: &str, wanted: Option<&[&str]>| {
            let segments: Vec<String> = path.split('/').map(str::to_owned).collect();
            let wanted = wanted.map(|all| all.iter().map(|one| (*one).to_owned()).collect());
            assert_eq!(parameters("/a/{x}/b/{y}", &segments), wanted, "{path}");
        };
        check("a/1/b/2", Some(&["1", "2"]));
        check("a/1/c/2", None);
        check("a/1/b", None);
    }
}
