use super::*;

#[test]
fn identifiers_name_the_limit_and_what_was_found() {
    assert!(PeerId::new("edge-0_A").is_ok());
    assert!(PeerId::new("a".repeat(64)).is_ok());
    let long = PeerId::new("a".repeat(65)).unwrap_err().to_string();
    assert_eq!(long, "peer_id has 65 characters; the limit is 64");
    assert!(PeerId::new("").unwrap_err().to_string().contains("empty"));
    let pattern = BlueprintId::new("a.b").unwrap_err().to_string();
    assert!(pattern.contains("'.'") && pattern.contains("position 1"), "{pattern}");
}

#[test]
fn lengths_count_characters_not_bytes() {
    assert!(check_length("published_by", &"é".repeat(255), 255).is_ok());
    assert!(check_length("published_by", &"é".repeat(256), 255).is_err());
}

#[test]
fn versions_refuse_negative_numbers_from_everywhere() {
    assert!(Version::new("last_known_version", -1).is_err());
    assert_eq!(Version::new("head", i64::MAX), Ok(Version::MAX));
    let negative = Version::new("head", -5).unwrap_err().to_string();
    assert_eq!(negative, "head is -5; it must be 0 or more");
    assert_eq!((Version::ZERO.next(), Version::MAX.next()), (Some(Version(1)), None));
    assert!(serde_json::from_str::<Version>("-1").is_err());
    assert_eq!(Version::ZERO.previous(), Version::ZERO);
}

#[test]
fn checksum_text_round_trips() {
    let sum = Checksum::of(b"{}");
    assert_eq!(Checksum::parse(&sum.to_string()), Some(sum));
    assert_eq!(Checksum::parse("sha256:00"), None);
    assert_eq!(Checksum::parse(&hex::encode([0; 32])), None);
}
