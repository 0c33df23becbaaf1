//! The views as a whole, over a log in memory.

mod abroad;
mod asked;
mod cured;
mod faults;
mod identity;
mod judged;
mod laws;
mod month;
mod overdue;
mod persons;
mod processing;
mod retained;
mod same;
mod scene;
mod separate;

use std::sync::Arc;
use std::time::Duration;

use super::testing::*;
use super::*;
use crate::domain::event::catalogue::*;
use crate::domain::event::*;
use crate::log::Log as _;

struct House {
    log: Arc<MemoryLog>,
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> House {
        House { log: MemoryLog::new(), dir: tempfile::tempdir().unwrap() }
    }

    fn record(&self, made: &Made) -> u64 {
        self.log.push(&sealed(made))
    }

    fn options(&self) -> Options {
        Options { cache_bytes: 16 << 20, ..Options::new(self.dir.path().join("views")) }
    }

    fn open(&self) -> Arc<Views> {
        self.open_with(self.options())
    }

    fn open_with(&self, options: Options) -> Arc<Views> {
        let views = Views::open(options, self.log.clone(), Arc::new(OneKey)).unwrap();
        caught_up(&views, self.log.head());
        views
    }
}

fn caught_up(views: &Views, head: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(views.wait_for(head, Duration::from_secs(60))).unwrap();
}

fn report(views: &Views, n: u32) -> Option<Report> {
    views.report(person(n), ReportOptions { evidence: 100, ..ReportOptions::default() }).unwrap()
}

#[test]
fn a_report_says_what_is_held() {
    let house = House::new();
    house.record(&made(1, day(1), collected(&["email", "name"], &["contract"], Some("a")), vec![subject(1)]));
    house.record(&made(2, day(3), collected(&["email"], &["contract"], Some("a")), vec![subject(1)]));
    house.record(&made(3, day(2), collected(&["phone"], &[], None), vec![subject(2)]));
    let views = house.open();
    let report = report(&views, 1).unwrap();
    let held: Vec<_> = report
        .data
        .iter()
        .map(|d| (d.key.category.as_str(), d.collected.count, d.collected.first, d.collected.last))
        .collect();
    assert_eq!(held, [("email", 2, day(1), day(3)), ("name", 1, day(1), day(1))]);
    assert_eq!(report.data[0].key.slot, Some(id("a")));
    assert_eq!(report.purposes.len(), 1);
    assert_eq!(report.purposes[0].origin, report::Origin::Stated);
    assert_eq!(report.evidence.iter().map(|e| e.position).collect::<Vec<_>>(), [1, 0]);
    assert_eq!((report.events, report.retracted), (2, 0));
    assert!(super::tests::report(&views, 3).is_none());
}

#[test]
fn a_crash_is_replayed() {
    let house = House::new();
    for n in 0..300 {
        house.record(&made(n, day(n as i64), collected(&["email"], &[], None), vec![subject(n as u32 % 3)]));
    }
    let views = house.open();
    let before = format!("{:?}", report(&views, 1).unwrap().data);
    drop(views);
    let views = house.open();
    assert_eq!(format!("{:?}", report(&views, 1).unwrap().data), before);
    assert_eq!(report(&views, 1).unwrap().data[0].collected.count, 100);
    house.record(&made(300, day(300), collected(&["email"], &[], None), vec![subject(1)]));
    caught_up(&views, 301);
    assert_eq!(report(&views, 1).unwrap().data[0].collected.count, 101);
}

#[test]
fn the_register_fills_in_what_was_not_stated() {
    let house = House::new();
    let activity = |purpose: &str, from: i64| {
        Body::ActivityRegistered(Box::new(ActivityRegistered {
            activity: Some(id("signup")),
            service: Some(id("solar")),
            purposes: List::new(vec![PurposeBasis { id: id(purpose), basis: LegalBasis::Consent }]).unwrap(),
            cats: List::new(vec![id("email")]).unwrap(),
            effective_at: Some(day(from)),
            ..ActivityRegistered::default()
        }))
    };
    let mut n = 0;
    let mut plain = |at: i64| {
        n += 1;
        let mut made = made(n, day(at), collected(&[], &[], None), vec![subject(1)]);
        made.event.envelope.activity = Some(id("signup"));
        made
    };
    house.record(&plain(2));
    house.record(&plain(20));
    house.record(&made(100, day(21), activity("old", 1), Vec::new()));
    let views = house.open();
    let purposes = |views: &Views| -> Vec<(String, u64)> {
        let report = report(views, 1).unwrap();
        let one = |p: &report::PurposeUse| {
            (p.purpose.as_ref().map_or_else(String::new, Id::to_string), p.collected.unwrap().count)
        };
        report.purposes.iter().map(one).collect()
    };
    assert_eq!(purposes(&views), [("old".to_owned(), 2)]);
    // A revision that lies between the two events splits the tally.
    house.record(&made(101, day(22), activity("new", 10), Vec::new()));
    caught_up(&views, 4);
    assert_eq!(purposes(&views), [("new".to_owned(), 1), ("old".to_owned(), 1)]);
    let earlier = ReportOptions { known_at: Some(3), ..ReportOptions::default() };
    let known = views.report(person(1), earlier).unwrap().unwrap();
    assert_eq!(known.purposes.len(), 1);
    assert_eq!(views.activity_at(&id("signup"), day(5)).unwrap().0, 1);
    assert_eq!(views.activity_at(&id("signup"), day(15)).unwrap().0, 2);
    assert!(views.activity_at(&id("signup"), day(0)).is_none());
}
