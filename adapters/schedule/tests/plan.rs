use proptest::prelude::*;

use super::*;

/// Expressions that have a moment at least every other day, so that a slow twin can be asked.
const EXPRESSIONS: [&str; 10] = [
    "* * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "30 2 * * *",
    "* 3 * * *",
    "59 23 * * *",
    "0 6-18/4 * * *",
    "15,45 9 */2 * *",
    "30 2 * * * Europe/Berlin",
    "*/20 1-3 * * * America/New_York",
];

/// Every minute, also in years with and without a leap day.
fn moments() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_102_444_800_000_000).prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

/// The minute of the newest moment, found by going back minute by minute.
fn slow_newest(expression: &str, now: Timestamp) -> Timestamp {
    let zone = if expression.matches(' ').count() == 4 { " UTC" } else { "" };
    let crontab = cronexpr::parse_crontab(&format!("{expression}{zone}")).unwrap();
    let minute = 60_000_000;
    let first = now.as_micros() - now.as_micros().rem_euclid(minute);
    (0..3 * 24 * 60)
        .map(|back| Timestamp::from_micros(first - back * minute).unwrap())
        .find(|at| crontab.matches(at.to_string().as_str()).unwrap())
        .expect("one in three days")
}

fn check_order(schedule: &Schedule, now: Timestamp) {
    let (newest, next) = (schedule.newest(now).unwrap(), schedule.next(now).unwrap());
    assert!(newest <= now && now < next, "{schedule}: {newest} {now} {next}");
    assert_eq!(schedule.next(newest), Some(next), "{schedule}: nothing lies between");
    assert_eq!(schedule.newest(next), Some(next), "{schedule}");
    assert_eq!(schedule.between(newest, next), 0, "{schedule}");
    let later = (0..5).fold(next, |at, _| schedule.next(at).unwrap());
    assert_eq!(schedule.between(newest, later), 5, "{schedule}");
    assert_eq!(schedule.between(later, newest), 0, "{schedule}");
}

proptest! {
    #[test]
    fn every_interval_has_its_moments_in_order(seconds in 1_u64..=366 * 86_400, now in moments()) {
        let schedule = Schedule::every(Duration::from_secs(seconds)).unwrap();
        check_order(&schedule, now);
        let newest = schedule.newest(now).unwrap();
        prop_assert!(now.since(newest) < Duration::from_secs(seconds));
        prop_assert_eq!(newest.as_micros() % (i64::try_from(seconds).unwrap() * 1_000_000), 0);
    }

    #[test]
    fn every_expression_has_its_moments_in_order(which in 0..EXPRESSIONS.len(), now in moments()) {
        check_order(&Schedule::cron(EXPRESSIONS[which]).unwrap(), now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn the_newest_moment_is_the_one_that_a_slow_search_finds(
        which in 0..EXPRESSIONS.len(),
        now in moments(),
    ) {
        let schedule = Schedule::cron(EXPRESSIONS[which]).unwrap();
        let newest = schedule.newest(now).unwrap();
        prop_assert_eq!(newest, slow_newest(EXPRESSIONS[which], now), "{} at {}", schedule, now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_text_is_a_schedule_or_an_error(
        text in any::<String>(),
        fields in prop::collection::vec(prop::sample::select(&[
            "*", "0", "7", "12", "29", "31", "59", "60", "*/7", "*/0", "1-5", "5-1", "1,2,,3", "L",
            "W", "15W", "2#2", "2#9", "MON", "mon-fri", "FEB", "?", "H", "-1", "+1", "1/2/3", "\0",
            "99999999999999999999", "Europe/Berlin", "UTC", "+02:00", "\u{1f600}",
        ][..]), 0..8),
        now in moments(),
    ) {
        for text in [text, fields.join(" "), format!("0 {}", fields.join(" "))] {
            match Schedule::cron(&text) {
                Ok(schedule) => {
                    let (newest, next) = (schedule.newest(now), schedule.next(now));
                    prop_assert!(newest.is_none_or(|newest| newest <= now), "{}", schedule);
                    prop_assert!(next.is_none_or(|next| next > now), "{}", schedule);
                }
                Err(error) => prop_assert!(error.to_string().len() < 2_000, "{}", error),
            }
        }
    }
}

#[test]
fn moments_that_are_years_apart_are_found() {
    let leap = Schedule::cron("0 0 29 2 *").unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(leap.newest(at("2027-07-01T00:00:00Z")), Some(at("2024-02-29T00:00:00Z")));
    // 2100 has none, and the one of 2096 is the newest for eight years.
    assert_eq!(leap.newest(at("2103-07-01T00:00:00Z")), Some(at("2096-02-29T00:00:00Z")));
    assert_eq!(leap.next(at("2101-01-01T00:00:00Z")), Some(at("2104-02-29T00:00:00Z")));
}

#[test]
fn summer_time_leaves_a_moment_out_and_brings_one_twice() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let nightly = Schedule::cron("30 2 * * * Europe/Berlin").unwrap();
    // On 29 March 2026 half past two does not come.
    let before = at("2026-03-28T01:30:00Z");
    assert_eq!(nightly.next(before), Some(at("2026-03-30T00:30:00Z")));
    // On 25 October it comes twice.
    let first = nightly.next(at("2026-10-24T12:00:00Z")).unwrap();
    assert_eq!(first, at("2026-10-25T00:30:00Z"));
    assert_eq!(nightly.next(first), Some(at("2026-10-25T01:30:00Z")));
}

#[test]
fn the_ends_of_time_are_no_moments() {
    let (first, last) = (
        Timestamp::EPOCH.saturating_sub(Duration::MAX),
        Timestamp::EPOCH.saturating_add(Duration::MAX),
    );
    for schedule in [Schedule::every(HOUR).unwrap(), Schedule::cron("0 0 L * *").unwrap()] {
        for now in [first, last] {
            // Whatever the answer is, it is one.
            let _ = (schedule.newest(now), schedule.next(now), schedule.between(now, now));
        }
        assert_eq!(schedule.next(last), None, "{schedule}");
    }
}

#[test]
fn what_is_no_schedule_is_refused_with_its_reason() {
    for interval in [Duration::ZERO, Duration::from_millis(999), Duration::MAX] {
        let error = Schedule::every(interval).unwrap_err();
        assert_eq!(error, ScheduleError::Interval { interval });
    }
    for (expression, why) in [
        ("", "empty"),
        ("* * * *", "miss"),
        ("60 * * * *", "0..=59"),
        ("* * * * * Europe/Atlantis", "failed to find timezone Europe/Atlantis"),
        ("H * * * *", ""),
        ("0 0 30 2 *", "no moment fits it"),
        ("\u{1f600} * * * *", ""),
    ] {
        let error = Schedule::cron(expression).unwrap_err().to_string();
        let start = format!("cron expression {expression:?} cannot be used: ");
        assert!(error.starts_with(&start) && error.contains(why), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let long = Schedule::cron(&"x".repeat(1_000_000)).unwrap_err().to_string();
    assert!(long.len() < 1_000, "{} bytes", long.len());
    assert_eq!(Schedule::cron(" 0 3 * * * ").unwrap().to_string(), "0 3 * * *");
    let every = |seconds| Schedule::every(Duration::from_secs(seconds)).unwrap().to_string();
    assert_eq!([every(7200), every(900), every(90)], ["every 2 h", "every 15 min", "every 90 s"]);
}
