//! What the gauge makes of readings.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn reading(count: u64, drop: u64) -> ConntrackReading {
    ConntrackReading {
        count,
        max: 1_000,
        buckets: Some(250),
        stats: Some(ConntrackStats {
            drop: Some(drop),
            insert_failed: Some(0),
            ..ConntrackStats::default()
        }),
    }
}

fn push(gauge: &mut Gauge, second: u32, reading: ConntrackReading) {
    gauge.push(SECOND * second, Ok(ConntrackState::Present(reading)));
}

fn near(value: Option<f64>, want: f64) -> bool {
    value.is_some_and(|value| (value - want).abs() < 0.01 * want.abs().max(1.0))
}

#[test]
fn a_steady_growth_gives_a_steady_forecast() {
    let mut gauge = Gauge::default();
    assert_eq!(
        (gauge.state(), gauge.growth()),
        (&GaugeState::Unknown, None)
    );
    for second in 0..20 {
        push(&mut gauge, second, reading(u64::from(second) * 10, 0));
        if second > 0 {
            assert!(near(gauge.growth(), 10.0), "{:?}", gauge.growth());
            let left = 100 - u64::from(second);
            let full = gauge.full_in().map(|left| left.as_secs_f64());
            assert!(near(full, left as f64), "{full:?}");
        }
    }
    assert!(near(gauge.fill(), 0.19) && near(gauge.load(), 0.76));
    assert_eq!(gauge.level(), Level::Amber);
    assert!(matches!(gauge.reasons()[..], [Reason::FullSoon(_)]));
}

#[test]
fn jitter_does_not_make_the_forecast_jump() {
    let mut gauge = Gauge::default();
    let mut forecasts = Vec::new();
    for second in 0..60u32 {
        let jitter = if second % 2 == 0 { 0 } else { 6 };
        push(
            &mut gauge,
            second,
            reading(u64::from(second) * 4 + jitter, 0),
        );
        if second > 20 {
            forecasts.push(gauge.growth().unwrap());
        }
    }
    let high = forecasts.iter().copied().fold(f64::MIN, f64::max);
    let low = forecasts.iter().copied().fold(f64::MAX, f64::min);
    assert!(low > 2.0 && high < 6.0, "{low} to {high}");
}

#[test]
fn thresholds_and_moving_counters_raise_the_level() {
    let mut gauge = Gauge::default();
    for (second, count, drop, level) in [
        (0, 700, 5, Level::Calm),
        (60, 700, 5, Level::Calm),
        (120, 800, 5, Level::Amber),
        (240, 950, 5, Level::Red),
        (420, 100, 5, Level::Calm),
        (421, 100, 9, Level::Red),
        (425, 100, 9, Level::Red),
        (435, 100, 9, Level::Calm),
        (600, 1_000, 9, Level::Red),
    ] {
        push(&mut gauge, second, reading(count, drop));
        assert_eq!(gauge.level(), level, "at {second}: {:?}", gauge.reasons());
    }
    assert_eq!(gauge.reasons(), [Reason::Full]);
    assert_eq!(gauge.full_in(), Some(Duration::ZERO));
}

#[test]
fn counters_that_go_backwards_start_again() {
    let mut gauge = Gauge::default();
    push(&mut gauge, 0, reading(10, 4_000_000_000));
    push(&mut gauge, 1, reading(10, 3));
    assert_eq!((gauge.rates().drop, gauge.level()), (None, Level::Calm));
    push(&mut gauge, 3, reading(10, 7));
    assert_eq!((gauge.rates().drop, gauge.level()), (Some(2.0), Level::Red));
    assert_eq!(gauge.rates().search_restart, None);
}

#[test]
fn absence_is_a_state_and_forgets_what_was_compared_with() {
    let mut gauge = Gauge::default();
    push(&mut gauge, 0, reading(500, 0));
    gauge.push(SECOND, Ok(ConntrackState::Absent));
    assert_eq!(
        (gauge.state(), gauge.level()),
        (&GaugeState::Absent, Level::Calm)
    );
    assert_eq!((gauge.fill(), gauge.full_in()), (None, None));
    push(&mut gauge, 2, reading(900, 50));
    assert_eq!((gauge.growth(), gauge.rates().drop), (None, None));
    gauge.push(SECOND * 3, Err("no".into()));
    assert_eq!(gauge.state(), &GaugeState::Failed("no".into()));
}

#[test]
fn without_a_bound_nothing_fills_up() {
    let mut gauge = Gauge::default();
    let boundless = ConntrackReading {
        max: 0,
        buckets: Some(0),
        ..reading(5, 0)
    };
    push(&mut gauge, 0, boundless);
    assert_eq!(
        (gauge.fill(), gauge.load(), gauge.full_in()),
        (None, None, None)
    );
}

#[test]
fn history_is_bounded_and_keeps_the_peaks() {
    let mut gauge = Gauge::default();
    for second in 0..1_000u32 {
        let count = if second == 901 {
            999
        } else {
            u64::from(second % 2)
        };
        push(&mut gauge, second, reading(count, 0));
    }
    let history: Vec<u64> = gauge.history().collect();
    assert_eq!(history.len(), POINTS);
    assert_eq!(history.iter().filter(|count| **count == 999).count(), 1);
    assert!(history.iter().all(|count| *count > 0));
    push(&mut gauge, 1_000_000, reading(7, 0));
    assert_eq!(gauge.history().len(), POINTS);
    assert_eq!(gauge.history().last(), Some(7));
}

#[test]
fn a_clock_that_stands_still_or_jumps_back_is_harmless() {
    let mut gauge = Gauge::default();
    push(&mut gauge, 5, reading(10, 0));
    push(&mut gauge, 5, reading(20, 0));
    assert_eq!(
        (gauge.growth(), gauge.reading().map(|r| r.count)),
        (None, Some(20))
    );
    push(&mut gauge, 1, reading(30, 0));
    assert_eq!(gauge.growth(), None);
}
