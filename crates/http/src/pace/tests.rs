use super::*;

const RULES: Rules = Rules {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(75),
    stall: Duration::from_secs(30),
    least: 8192,
    window: Duration::from_secs(20),
};

/// A caller of whom `bytes` are taken every second, after each second of waiting; when it is cut.
fn cut_after(bytes: usize, seconds: u64) -> Option<u64> {
    let start = Instant::now();
    let meter = Meter::new(start);
    let _request = meter.begins();
    // What fits into the kernel's buffers does not count.
    meter.state().takes.moved(4 << 20, start);
    meter.state().takes.waits(start);
    (1..=seconds).find(|second| {
        let now = start + Duration::from_secs(*second);
        let mut state = meter.state();
        state.takes.moved(bytes, now);
        state.takes.waits(now);
        drop(state);
        meter.overdue(now, &RULES).is_some()
    })
}

#[test]
fn a_caller_that_trickles_through_its_answer_is_cut_and_a_slow_link_is_not() {
    assert_eq!(cut_after(3 * 1024, 100), Some(20));
    assert_eq!(cut_after(10 * 1024, 1000), None, "80 kbit/s");
}

#[test]
fn a_burst_buys_no_more_than_one_window() {
    let start = Instant::now();
    let meter = Meter::new(start);
    let _request = meter.begins();
    meter.state().takes.waits(start);
    meter.state().takes.moved(100 << 20, start + Duration::from_secs(1));
    let mut at = start + Duration::from_secs(1);
    meter.state().takes.waits(at);
    let end = loop {
        at += Duration::from_secs(1);
        let mut state = meter.state();
        state.takes.moved(3 * 1024, at);
        state.takes.waits(at);
        drop(state);
        if meter.overdue(at, &RULES).is_some() {
            break at;
        }
    };
    assert_eq!(end.duration_since(start).as_secs(), 40);
}

#[test]
fn what_a_connection_makes_of_its_place() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let meter = Meter::new(start);
    assert_eq!(meter.standing(at(0), &RULES), Standing::New);
    assert_eq!(meter.standing(start + FRESH, &RULES), Standing::Idle(start));
    let request = meter.begins();
    assert_eq!(meter.standing(at(1), &RULES), Standing::Served);
    meter.state().sends.waits(at(1));
    assert_eq!(meter.standing(at(2), &RULES), Standing::Awaited, "too early to tell");
    assert_eq!(meter.standing(at(5), &RULES), Standing::Slow(0));
    meter.state().sends.moved(1 << 20, at(5));
    meter.state().takes.waits(at(6));
    meter.state().takes.moved(1 << 20, at(10));
    meter.state().takes.waits(at(10));
    assert_eq!(meter.standing(at(11), &RULES), Standing::Awaited, "it is fast enough");
    meter.state().takes.moved(1, at(11));
    drop(request);
    assert!(matches!(meter.standing(at(12), &RULES), Standing::Idle(_)));
}

#[test]
fn heads_and_pauses_between_requests_have_limits_of_their_own() {
    let start = Instant::now();
    let at = |seconds| Instant::now() + Duration::from_secs(seconds);
    let meter = Meter::new(start);
    assert_eq!(meter.overdue(at(9), &RULES), None);
    assert_eq!(meter.overdue(at(11), &RULES), Some("http.head_timeout"), "it never asked");
    drop(meter.begins());
    assert_eq!(meter.overdue(at(70), &RULES), None, "longer than a load balancer's 60 s");
    assert_eq!(meter.overdue(at(76), &RULES), Some("http.idle_timeout"));
    meter.read(1);
    assert_eq!(meter.overdue(at(11), &RULES), Some("http.head_timeout"), "half a head");
}
