use std::time::Duration;

use crate::{
    ByteSize, Clock as _, Distribution, HumanDuration, ManualClock, Rng, SeededRng, Spawner, SteeredClock, SystemClock,
    Timestamp, UploadId,
};

#[test]
fn an_id_reads_back_what_it_prints_and_nothing_else() {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let id = UploadId::generate(&clock, &SeededRng::new(1));
    let text = id.to_string();
    assert_eq!(text.parse(), Ok(id));
    assert_eq!(text.len(), 36);
    for wrong in [
        text.to_uppercase(),
        format!("{{{text}}}"),
        text.replace('-', ""),
        format!("urn:uuid:{text}"),
        format!("{text} "),
        "00000000-0000-4000-8000-000000000000".into(),
        "../../etc/passwd".into(),
        String::new(),
    ] {
        assert!(wrong.parse::<UploadId>().is_err(), "{wrong} was accepted");
    }
}

#[test]
fn ids_differ_and_sort_by_time() {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let rng = SeededRng::new(2);
    let first = UploadId::generate(&clock, &rng);
    clock.advance(Duration::from_millis(1));
    let second = UploadId::generate(&clock, &rng);
    assert!(first < second);
}

#[test]
fn a_size_prints_exactly_and_reads_back() {
    for (size, text) in [
        (ByteSize::mib(4), "4 MiB"),
        (ByteSize::gib(100), "100 GiB"),
        (ByteSize::bytes(0), "0 B"),
        (ByteSize::bytes(1025), "1025 B"),
        (ByteSize::kib(1025), "1025 KiB"),
    ] {
        assert_eq!(size.to_string(), text);
        assert_eq!(text.parse(), Ok(size));
    }
    assert_eq!("1kb".parse(), Ok(ByteSize::bytes(1000)));
    assert!("many".parse::<ByteSize>().is_err());
    assert!("-1".parse::<ByteSize>().is_err());
}

#[test]
fn a_duration_reads_back_what_it_prints() {
    for text in ["30s", "1day", "7days", "365days", "90ms"] {
        let span: HumanDuration = text.parse().expect(text);
        assert_eq!(span.to_string(), text);
    }
    assert_eq!("24h".parse(), Ok(HumanDuration::days(1)));
    assert!("soon".parse::<HumanDuration>().is_err());
}

#[test]
fn time_prints_as_rfc_3339_in_utc() {
    assert_eq!(Timestamp::from_micros(1_700_000_000_000_001).to_string(), "2023-11-14T22:13:20.000001Z");
}

#[test]
fn time_never_overflows() {
    let end = Timestamp::from_micros(i64::MAX);
    assert_eq!(end.plus(Duration::from_secs(1)), end);
    assert_eq!(end.plus(Duration::MAX), end);
}

#[test]
fn a_seed_repeats_its_bytes() {
    let (mut a, mut b) = ([0; 13], [0; 13]);
    SeededRng::new(7).fill(&mut a);
    SeededRng::new(7).fill(&mut b);
    assert_eq!(a, b);
    SeededRng::new(8).fill(&mut b);
    assert_ne!(a, b);
}

#[tokio::test]
async fn draining_waits_for_every_task() {
    let spawner = Spawner::new();
    let (release, held) = tokio::sync::oneshot::channel::<()>();
    let task = spawner.spawn("waits", held);
    assert_eq!(spawner.running(), 1);
    assert!(!spawner.drain(Duration::ZERO).await);
    release.send(()).expect("the task waits");
    assert!(spawner.drain(Duration::from_secs(10)).await);
    assert!(task.await.expect("no panic").is_ok());
}

#[test]
fn a_distribution_counts_each_thing_in_one_bucket() {
    let seen = Distribution::new(&[0.001, 1.0]);
    for millis in [0, 1, 2, 1_000, 1_001, 60_000] {
        seen.observe(Duration::from_millis(millis));
    }
    let snapshot = seen.snapshot();
    assert_eq!(snapshot.buckets, [(0.001, 2), (1.0, 2), (f64::MAX, 2)]);
    assert!((snapshot.sum - 62.004).abs() < 1e-9, "{snapshot:?}");
}

#[test]
fn r017_an_answer_that_took_long_is_not_believed_by_a_clock_that_knows_better() {
    let (clock, second) = (SteeredClock::new(), std::time::Duration::from_secs(1));
    let began = SystemClock::new().now();
    let at = |seconds: u32| clock.monotonic() + second * seconds;
    let is_about = |wanted: Timestamp| {
        let off_us = clock.now().as_micros() - wanted.as_micros();
        assert!(off_us.abs() < 900_000, "{off_us} µs off");
    };
    // As a replica starts: there is nothing better yet.
    clock.steer(began.plus(second * 10), at(0), at(4));
    is_about(began.plus(second * 8));
    clock.steer(began.plus(second * 20), at(4), at(4));
    is_about(began.plus(second * 16));
    // A question that was lost, and its repetition six seconds later.
    clock.steer(began.plus(second * 26), at(4), at(10));
    is_about(began.plus(second * 16));
    // Nobody knows after two days how far the machine has drifted.
    clock.steer(began.plus(second * 100), at(200_000), at(200_004));
    is_about(began.minus(second * 199_902));
}

#[test]
fn r017_a_clock_that_was_told_the_time_is_not_moved_by_its_own_machine() {
    let clock = SteeredClock::new();
    let near = |us: i64, wanted: i64| assert!((us - wanted).abs() < 60_000_000, "{us} is not about {wanted}");
    near(clock.now().as_micros(), SystemClock::new().now().as_micros());
    let theirs = SystemClock::new().now().plus(std::time::Duration::from_secs(2 * 86_400));
    let at = clock.monotonic();
    near(clock.steer(theirs, at, at), -2 * 86_400_000_000);
    near(clock.now().as_micros(), theirs.as_micros());
    let before = clock.now();
    assert!(clock.now() >= before);
}
