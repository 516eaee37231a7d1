use sorcha_register::{names::Version, testing::entry};

use super::*;

#[test]
fn filters_combine_across_kinds() {
    let entry = entry("a", 1).header();
    let published = NotificationType::BlueprintPublished;
    let matches = |change: fn(&mut v1::SubscriptionFilters)| {
        let mut filters = v1::SubscriptionFilters::default();
        change(&mut filters);
        wanted(&filters, &entry, published)
    };
    assert!(matches(|_| ()));
    assert!(matches(|f| f.blueprint_ids = vec!["b".into(), "a".into()]));
    assert!(!matches(|f| f.blueprint_ids = vec!["b".into()]));
    assert!(!matches(|f| f.publisher_ids = vec!["system".into()]));
    assert!(!matches(|f| f.notification_types = vec![NotificationType::BlueprintDeprecated.into()]));
    assert!(matches(|f| f.metadata_filters = [("category".into(), "test".into())].into()));
    let one_missing = |f: &mut v1::SubscriptionFilters| {
        f.metadata_filters = [("category".into(), "test".into()), ("x".into(), "y".into())].into();
    };
    assert!(!matches(one_missing));
}

#[test]
fn kinds_follow_what_was_known_before() {
    let mut before = RegisterView::new(None);
    let mut off = entry("a", 2);
    off.is_active = false;
    let off = off.header();
    assert_eq!(kind_of(&entry("a", 1).header(), &before), NotificationType::BlueprintPublished);
    before.apply(vec![entry("a", 1).seal()], Version::ZERO);
    assert_eq!(kind_of(&off, &before), NotificationType::BlueprintDeprecated);
    assert_eq!(kind_of(&entry("a", 3).header(), &before), NotificationType::BlueprintUpdated);
}

#[tokio::test]
async fn a_preview_is_made_once_for_all_subscribers() {
    let mut entry = entry("a", 1);
    let json = format!(r#"{{"id":"a","text":"{}"}}"#, "x".repeat(1 << 20));
    entry.document = sorcha_register::canonical::Document::canonicalize(json.as_bytes()).unwrap();
    let sealed = entry.seal();
    assert!(sealed.known_preview().is_none());
    let previews = futures::future::join_all((0..100).map(|_| preview(&sealed))).await;
    let made = sealed.known_preview().expect("it is kept");
    assert_eq!(made, r#"{"id":"a"}"#);
    assert!(
        previews.into_iter().map(Result::unwrap).all(|preview| preview.as_ptr() == made.as_ptr()),
        "another copy was made"
    );
}
