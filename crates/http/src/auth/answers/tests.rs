use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use sorcha_runtime::clock::VirtualClock;

use super::*;

/// Takes 10 ms; tokens that begin with `y` may write.
#[derive(Default)]
struct Slow {
    asked: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Reviewer for Slow {
    async fn review(&self, token: &str) -> Result<Review, ReviewError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.now.fetch_sub(1, Ordering::Relaxed);
        let verdict = match token {
            "away" => return Err(ReviewError::Away("no route".into())),
            token if token.starts_with('y') => Verdict::MayWrite { name: token.to_owned() },
            _ => Verdict::Unknown { why: "unknown".into() },
        };
        Ok(Review { verdict, until: None })
    }

    fn how_to_get_one(&self) -> &str {
        ""
    }
}

fn reviews(change: impl FnOnce(&mut TokenReviews)) -> (Arc<Slow>, Arc<Reviews>) {
    let mut limits = TokenReviews::default();
    change(&mut limits);
    let slow = Arc::new(Slow::default());
    let clock = Arc::new(VirtualClock::new(Timestamp::from_millis(0), 0));
    (Arc::clone(&slow), Arc::new(Reviews::new(slow, &limits, clock)))
}

#[tokio::test(start_paused = true)]
async fn an_address_that_sends_bad_tokens_leaves_places_for_others() {
    let (slow, reviews) = reviews(|limits| limits.max_concurrent = 4);
    let flood: Vec<_> = (0..1000)
        .map(|number| {
            let reviews = Arc::clone(&reviews);
            // A caller that has a network of version 6 has as many addresses as it likes.
            let from = Source::of(&format!("[2001:db8::{number:x}]:4711"));
            tokio::spawn(async move { reviews.review(&format!("no-{number}"), Some(&from)).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(slow.now.load(Ordering::Relaxed), 2, "half of the places");
    let asked = tokio::time::Instant::now();
    let verdict = reviews.review("yes", Some(&Source::of(&"192.0.2.8:4711"))).await.unwrap();
    assert!(matches!(verdict, Verdict::MayWrite { .. }));
    assert_eq!(asked.elapsed(), Duration::from_millis(10), "an honest caller does not wait for the others");
    for one in flood {
        drop(one.await.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_bad_tokens_asks_little_at_once_and_drives_out_no_good_one() {
    let (slow, reviews) = reviews(|limits| (limits.max_concurrent, limits.max_cached) = (4, 16));
    reviews.review("yes", None).await.unwrap();
    let all: Vec<_> = (0..200)
        .map(|number| {
            let reviews = Arc::clone(&reviews);
            tokio::spawn(async move { reviews.review(&format!("no-{number}"), None).await })
        })
        .collect();
    for one in all {
        assert!(matches!(one.await.unwrap().unwrap(), Verdict::Unknown { .. }));
    }
    assert_eq!(slow.most.load(Ordering::Relaxed), 4);
    assert_eq!(reviews.refused.lock().unwrap().known.len(), 16);
    let before = slow.asked.load(Ordering::Relaxed);
    assert!(matches!(reviews.review("yes", None).await.unwrap(), Verdict::MayWrite { .. }));
    assert_eq!(slow.asked.load(Ordering::Relaxed), before, "the good one is still known");
}

#[tokio::test(start_paused = true)]
async fn one_token_many_times_at_once_is_asked_about_as_often_as_there_are_places() {
    let (slow, reviews) = reviews(|limits| limits.max_concurrent = 2);
    let all: Vec<_> = (0..50)
        .map(|_| {
            let reviews = Arc::clone(&reviews);
            tokio::spawn(async move { reviews.review("yes", None).await })
        })
        .collect();
    for one in all {
        one.await.unwrap().unwrap();
    }
    assert_eq!(slow.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn answers_hold_for_their_time_and_failures_not_at_all() {
    let (slow, reviews) = reviews(|_| ());
    let asked = async |token: &str, after: u64| {
        tokio::time::advance(Duration::from_secs(after)).await;
        let before = slow.asked.load(Ordering::Relaxed);
        drop(reviews.review(token, None).await);
        slow.asked.load(Ordering::Relaxed) - before
    };
    assert_eq!((asked("yes", 0).await, asked("yes", 59).await, asked("yes", 1).await), (1, 0, 1));
    assert_eq!((asked("no", 0).await, asked("no", 9).await, asked("no", 1).await), (1, 0, 1));
    assert_eq!((asked("away", 0).await, asked("away", 0).await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_place_in_time_is_told_so() {
    let (_, reviews) = reviews(|limits| {
        limits.max_concurrent = 1;
        limits.timeout = Duration::from_millis(15);
    });
    let first = tokio::spawn({
        let reviews = Arc::clone(&reviews);
        async move { reviews.review("yes-1", None).await }
    });
    tokio::task::yield_now().await;
    let second = reviews.review("yes-2", None).await;
    assert!(first.await.unwrap().is_ok());
    let Err(ReviewError::Away(why)) = second else { panic!("{second:?}") };
    assert!(why.contains("15ms") && why.contains("http.kubernetes.timeout"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn the_answer_that_ends_first_makes_room() {
    let (slow, reviews) = reviews(|limits| limits.max_cached = 2);
    for token in ["yes-1", "yes-2", "yes-3"] {
        reviews.review(token, None).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let before = slow.asked.load(Ordering::Relaxed);
    for token in ["yes-2", "yes-3", "yes-1"] {
        reviews.review(token, None).await.unwrap();
    }
    assert_eq!(slow.asked.load(Ordering::Relaxed) - before, 1, "only the oldest was forgotten");
}
