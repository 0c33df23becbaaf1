//! Damage, unknown records, a log that lost its tail.

use super::*;
use crate::log::NewRecord;

fn fill(house: &House, from: u64, to: u64) {
    for n in from..to {
        let slot = format!("s{}", n % 7);
        house.record(&made(
            n,
            day(n as i64),
            collected(&["email"], &[], Some(&slot)),
            vec![subject(n as u32 % 5)],
        ));
    }
}

#[test]
fn an_unknown_version_stops_and_is_named() {
    let house = House::new();
    fill(&house, 0, 10);
    let mut newer = sealed(&made(10, day(1), collected(&["email"], &[], None), vec![subject(1)]));
    let text = String::from_utf8(newer.header.to_vec()).unwrap().replacen("{\"v\":1,", "{\"v\":2,", 1);
    newer.header = bytes(&text);
    house.log.push(&newer);
    fill(&house, 11, 20);
    let views = Views::open(house.options(), house.log.clone(), Arc::new(OneKey)).unwrap();
    caught_up(&views, 10);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let why = runtime.block_on(views.wait_for(20, Duration::from_secs(60))).unwrap_err();
    assert!(
        matches!(&why, Error::Stopped(text) if text.contains("position 10") && text.contains("version 2")),
        "{why}"
    );
    assert_eq!(report(&views, 1).unwrap().data.len(), 2);
    assert!(views.status().unwrap().stale.unwrap().contains("position 10"));
    assert_eq!(views.lag(), 10);
}

#[test]
fn an_altered_index_block_stops_too() {
    let house = House::new();
    let mut altered: NewRecord = sealed(&made(0, day(1), collected(&["email"], &[], None), vec![subject(1)]));
    let mut block = altered.pieces[0].to_vec();
    block[20] ^= 1;
    altered.pieces[0] = block.into();
    house.log.push(&altered);
    let views = Views::open(house.options(), house.log.clone(), Arc::new(OneKey)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let why = runtime.block_on(views.wait_for(1, Duration::from_secs(60))).unwrap_err();
    assert!(why.to_string().contains("position 0"), "{why}");
}

#[test]
fn a_log_without_its_tail_is_refused() {
    let house = House::new();
    fill(&house, 0, 30);
    drop(house.open());
    house.log.cut(20);
    let opened = Views::open(house.options(), house.log.clone(), Arc::new(OneKey));
    assert!(matches!(opened.err(), Some(Error::LostTail { applied: 30, head: 20 })));
}

/// Wherever the last run ended: before, at or behind the end of a zone.
#[test]
fn a_start_goes_on_in_the_zone_where_it_stands() {
    let zone = crate::views::zone::ZONE;
    for events in [1, zone - 1, zone, zone + 1, 2 * zone] {
        let house = House::new();
        fill(&house, 0, events);
        drop(house.open());
        fill(&house, events, events + 1);
        let compared = house.open().compare(|_| true).unwrap();
        assert_eq!(compared.samples, Vec::<String>::new(), "after {events} events");
    }
}

/// Every file of the store is damaged in turn, at several places: answers stay right, or the store
/// is made anew, or the damage is said.
#[test]
fn a_damaged_store_is_made_anew_or_said() {
    let house = House::new();
    fill(&house, 0, 400);
    let views = house.open();
    let right = format!("{:?}", report(&views, 3).unwrap().data);
    // Rows in tables, not only in the journal.
    views.scrub().unwrap();
    fill(&house, 400, 420);
    caught_up(&views, 420);
    let right_now = format!("{:?}", report(&views, 3).unwrap().data);
    assert_ne!(right, right_now);
    drop(views);
    let mut files = Vec::new();
    list_files(&house.options().dir, &mut files);
    let mut rebuilt = 0;
    for file in files.iter().filter(|file| file.metadata().unwrap().len() > 0) {
        let name = file.strip_prefix(house.dir.path()).unwrap();
        for place in [1usize, 3, 5] {
            let copy = tempfile::tempdir().unwrap();
            copy_all(house.dir.path(), copy.path());
            let mut content = std::fs::read(copy.path().join(name)).unwrap();
            let at = content.len().min(4096) * place / 6;
            content[at] ^= 0x55;
            std::fs::write(copy.path().join(name), content).unwrap();
            let options = Options { dir: copy.path().join("views"), ..house.options() };
            let views = Views::open(options, house.log.clone(), Arc::new(OneKey)).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let waited = runtime.block_on(views.wait_for(420, Duration::from_secs(60)));
            let answered = views.report(person(3), ReportOptions::default());
            match (waited, answered) {
                (Ok(()), Ok(Some(report))) => {
                    assert_eq!(format!("{:?}", report.data), right_now, "{} at {at}", name.display());
                    rebuilt += usize::from(views.status().unwrap().generation > 1);
                }
                (Err(Error::Stopped(_)), _) | (_, Err(Error::Store(_) | Error::Damaged(_))) => {}
                other => panic!("{} at {at}: {other:?}", name.display()),
            }
        }
    }
    assert!(rebuilt > 0);
}

#[test]
fn a_store_of_another_format_is_made_anew() {
    let house = House::new();
    fill(&house, 0, 30);
    let views = house.open();
    let mut batch = views.live().store.batch(1);
    batch.number(store::meta::FORMAT, store::FORMAT + 1);
    batch.commit().unwrap();
    drop(views);
    let views = house.open();
    assert_eq!(views.status().unwrap().generation, 2);
    assert_eq!(views.stale(), None);
    assert_eq!(report(&views, 3).unwrap().events, 6);
    assert_eq!(generation::present(&house.options().dir).unwrap(), [2]);
}

#[test]
fn an_erased_person_leaves_no_byte() {
    let house = House::new();
    fill(&house, 0, 300);
    let views = house.open();
    let tomb = Some(crate::record::tomb(person(3)));
    let body = IdentityErasureAccepted { tomb, ..IdentityErasureAccepted::default() };
    house.record(&made(900, day(9), Body::IdentityErasureAccepted(Box::new(body)), vec![subject(3)]));
    house.record(&made(901, day(10), collected(&["email"], &[], None), vec![subject(3)]));
    caught_up(&views, 302);
    views.scrub().unwrap();
    assert!(report(&views, 3).is_none() && !views.subject_known(person(3)).unwrap());
    assert!(views.subject_known(person(2)).unwrap());
    let mut files = Vec::new();
    list_files(&house.options().dir, &mut files);
    for file in files {
        let content = std::fs::read(&file).unwrap();
        let found = content.windows(16).any(|window| window == person(3).0);
        assert!(!found, "{} still names an erased person", file.display());
    }
}

fn list_files(dir: &std::path::Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list_files(&path, files) } else { files.push(path) }
    }
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    let mut files = Vec::new();
    list_files(from, &mut files);
    for file in files {
        let target = to.join(file.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&file, target).unwrap();
    }
}
