#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::TcpListener;

use super::*;
use crate::upstream::{BODY, LARGE, Upstream};

fn get(path: &str) -> Get {
    Get { path: path.to_owned(), token: None }
}

fn traffic() -> Traffic {
    let token = Some(format!("to{DISTINCT}ken"));
    Traffic::plain(vec![get("/one"), Get { path: "/seen".to_owned(), token }])
}

#[tokio::test]
async fn load_is_counted_and_its_absence_is_a_failure() {
    let upstream = Upstream::start().unwrap();
    let origin = format!("http://{}", upstream.address);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let bounds = [Bound::Time(Duration::from_secs(1)), Bound::Count(100)];
    for load in [Load::Kept, Load::Paced(500)] {
        for (generator, bound) in [Generator::BuiltIn, Generator::found()]
            .map(|one| bounds.map(|bound| (one, bound)))
            .concat()
        {
            let outcome = generator.send(load, &traffic(), &origin, bound).await.unwrap();
            assert!(outcome.requests > 0 && outcome.seconds > 0.0, "{generator}: {outcome:?}");
            let Outcome { p50_us, p99_us, p999_us, errors, .. } = outcome;
            assert!(0.0 < p50_us && p50_us <= p99_us && p99_us <= p999_us, "{outcome:?}");
            assert_eq!(errors, 0, "{generator}");
            let refused =
                generator.send(load, &traffic(), &format!("http://{closed}"), bound).await;
            assert!(refused.is_err(), "{generator}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn wrong_answers_are_errors() {
    let upstream = Upstream::start().unwrap();
    let origin = format!("http://{}", upstream.address);
    let wanted = Traffic { wanted: 401, ..traffic() };
    let bound = Bound::Time(Duration::from_secs(1));
    for load in [Load::Kept, Load::Paced(100)] {
        for generator in [Generator::BuiltIn, Generator::found()] {
            let outcome = generator.send(load, &wanted, &origin, bound).await;
            // Ours ends at the first, wrk counts them all.
            assert!(
                outcome.as_ref().is_ok_and(|it| it.errors > 0) || outcome.is_err(),
                "{outcome:?}"
            );
        }
    }
}

#[tokio::test]
async fn bodies_go_up_and_come_down() {
    let upstream = Upstream::start().unwrap();
    let origin = format!("http://{}", upstream.address);
    let up = Traffic { upload: LARGE, ..Traffic::plain(vec![get("/one")]) };
    let down = Traffic::plain(vec![get("/large")]);
    for traffic in [up, down] {
        for generator in [Generator::BuiltIn, Generator::found()] {
            let bound = Bound::Time(Duration::from_secs(1));
            let outcome = generator.send(Load::Kept, &traffic, &origin, bound).await.unwrap();
            assert!(outcome.requests > 0 && outcome.errors == 0, "{generator}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_another_status_ends_a_loop() {
    let upstream = Upstream::start().unwrap();
    let client = client().build().unwrap();
    let url = format!("http://{}/one", upstream.address);
    let get = |_| Ok(client.get(&url));
    let done = drive(4, Bound::Count(100), 200, get).await.unwrap();
    assert_eq!(done.requests, 100);
    let failed = drive(4, Bound::Count(100), 201, get).await.unwrap_err();
    assert!(failed.to_string().contains("200 OK"), "{failed}");
}

#[tokio::test]
async fn no_two_requests_bear_the_same_token() {
    let traffic = traffic();
    let client = client().build().unwrap();
    let token = |number| {
        let request = traffic.request(&client, "http://x.test", number, &Bytes::new());
        request.build().unwrap().headers()["authorization"].clone()
    };
    assert_eq!(token(1), "Bearer to000000000001ken");
    assert_eq!(token(apart() + 1).len(), token(1).len());
    assert!(apart() + APART <= apart());
}

#[tokio::test]
async fn the_upstream_tells_what_it_saw() {
    let upstream = Upstream::start().unwrap();
    let client = client().build().unwrap();
    let url = format!("http://{}", upstream.address);
    let usual = client.get(format!("{url}/other")).send().await.unwrap();
    assert_eq!(usual.bytes().await.unwrap().len(), BODY);
    let large = client.get(format!("{url}/large")).send().await.unwrap();
    assert_eq!(large.bytes().await.unwrap().len(), LARGE);
    let seen = client.get(format!("{url}/a/seen")).header("X-One", "1").send().await.unwrap();
    let seen = seen.text().await.unwrap();
    assert!(seen.starts_with("GET /a/seen HTTP/1.1\r\n") && seen.contains("x-one: 1"), "{seen}");
}
