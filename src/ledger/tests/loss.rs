//! What was published and is not there any more.

use super::*;

/// The files of one book.
fn files(place: &Place, book: &Path) -> Vec<PathBuf> {
    let dir = book.join("checkpoints").join(ORIGIN.replace('/', "!")).join(format!("{:015}", 0));
    assert!(dir.starts_with(place.root.path()));
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// A log with checkpoints over 100 and 200 records, and a copy of the data from between.
async fn with_an_older_copy(place: &Place) -> PathBuf {
    let mut open = place.open().await.unwrap();
    open.grow(100).await;
    open.publish().await;
    open.grow(150).await;
    open.close();
    let older = place.root.path().join("older");
    copy_dir(&place.data(), &older);
    let mut open = place.open().await.unwrap();
    open.grow(200).await;
    open.publish().await;
    open.close();
    older
}

/// As a backup whose log was copied later than its checkpoints; nothing was published over 150 at first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_bears_out_is_taken_over_from_the_outside_copy_also_where_it_lost_its_end() {
    let place = Place::new();
    let older = with_an_older_copy(&place).await;
    let mut checkpoints = files(&place, &place.data().join("ledger"));
    assert_eq!(checkpoints.len(), 2);
    restore(&place, &older);
    checkpoints.truncate(1);
    std::fs::remove_file(&checkpoints[0]).unwrap();
    let open = place.open().await.unwrap();
    assert!(open.ledger.diverged().unwrap().contains("200"));
    assert_eq!(files(&place, &place.data().join("ledger")), checkpoints, "that over 100, not that over 200");
    open.close();
}

fn restore(place: &Place, from: &Path) {
    std::fs::remove_dir_all(place.data()).unwrap();
    copy_dir(from, &place.data());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_step_of_publishing_leaves_a_log_that_can_be_signed_again() {
    let place = Place::new();
    let mut open = place.open().await.unwrap();
    open.grow(100).await;
    open.publish().await;
    open.close();
    let (data, outside) = (place.root.path().join("d"), place.root.path().join("o"));
    copy_dir(&place.data(), &data);
    copy_dir(&place.outside(), &outside);
    let mut open = place.open().await.unwrap();
    open.grow(200).await;
    open.publish().await;
    open.crash();
    let after = |book: &Path| files(&place, book).pop().unwrap();
    let (edge, edge_before) = (place.data().join("ledger/edge"), data.join("ledger/edge"));
    let done = (place.root.path().join("d2"), place.root.path().join("o2"));
    copy_dir(&place.data(), &done.0);
    copy_dir(&place.outside(), &done.1);
    let inside = || place.data().join("ledger");
    let half = |path: PathBuf, whole: bool| {
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let length = if whole { bytes.len() } else { bytes.len() / 2 };
        std::fs::write(format!("{}.new", path.display()), &bytes[..length]).unwrap();
    };
    // From the last step back to the first: what the disk holds if it ends there.
    let steps: [&dyn Fn(); 6] = [
        &|| {},
        &|| half(after(&inside()), true),
        &|| half(after(&inside()), false),
        &|| std::fs::remove_file(after(&inside())).unwrap(),
        &|| half(after(&place.outside()), false),
        &|| assert!(std::fs::copy(&edge_before, &edge).unwrap() > 0),
    ];
    for (last, step) in steps.iter().enumerate() {
        restore(&place, &done.0);
        std::fs::remove_dir_all(place.outside()).unwrap();
        copy_dir(&done.1, &place.outside());
        // The inside book is written last, and the edge before both.
        if last >= 4 {
            std::fs::remove_file(after(&inside())).unwrap();
        }
        if last >= 5 {
            std::fs::remove_file(after(&place.outside())).unwrap();
        }
        step();
        let mut open = place.open().await.unwrap();
        assert_eq!(open.ledger.diverged(), None, "step {last}");
        let expected = if last < 4 { 200 } else { 100 };
        assert_eq!(open.ledger.latest().unwrap().checkpoint.size, expected, "step {last}");
        open.grow(210).await;
        assert_eq!(open.publish().await.checkpoint.root, tree(210).root());
        for book in [inside(), place.outside()] {
            assert!(after(&book).to_string_lossy().ends_with("210.checkpoint"), "step {last}");
        }
        open.close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_data_is_never_signed() {
    let place = Place::new();
    let older = with_an_older_copy(&place).await;
    restore(&place, &older);
    let mut open = place.open().await.unwrap();
    let why = open.ledger.diverged().unwrap();
    assert!(why.contains("150") && why.contains("200"), "{why}");
    assert!(matches!(open.ledger.publish().await, Err(Error::Diverged(_))));
    // Not even when it has grown past the size that was published: these are other records.
    open.grow(199).await;
    open.log.append(vec![record_of(900, b"another".to_vec())]).await.unwrap();
    open.close();
    let open = place.open().await.unwrap();
    let why = open.ledger.diverged().unwrap();
    assert!(why.contains("not those of the published root"), "{why}");
    assert!(matches!(open.ledger.publish().await, Err(Error::Diverged(_))));
    let loss = open.ledger.loss().unwrap().unwrap();
    assert_eq!((loss.old_size, loss.missing), (200, (100, 199)), "the checkpoint over 100 is borne out");
    open.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_lost_its_end_goes_on_under_the_next_name_and_never_under_the_old() {
    let place = Place::new();
    let older = with_an_older_copy(&place).await;
    let newest = place.root.path().join("newest");
    copy_dir(&place.data(), &newest);
    restore(&place, &older);
    let open = place.open().await.unwrap();
    let loss = open.ledger.loss().unwrap().unwrap();
    assert_eq!((loss.old_origin.as_str(), loss.old_size, loss.missing), (ORIGIN, 200, (150, 199)));
    assert_eq!((loss.old_root, loss.new_origin.as_str()), (tree(200).root(), "example.org/custody/events-2"));
    let root = base64_url(&loss.old_root);
    let body = format!(
        r#""old_origin":"{ORIGIN}","old_size":200,"old_root":"{root}","missing_from":150,"missing_to":199,"reason":"lost_tail""#
    );
    let continued = opened(&loss.new_origin, "LogContinued", &body);
    open.log.append(vec![record_of(150, continued.into_bytes())]).await.unwrap();
    open.ledger.catch_up().await.unwrap();
    open.ledger.examine().unwrap();
    assert_eq!((open.ledger.diverged(), open.ledger.loss().unwrap()), (None, None));
    let signed = open.publish().await;
    assert_eq!((signed.checkpoint.origin.as_str(), signed.checkpoint.size), (loss.new_origin.as_str(), 151));
    open.close();
    let open = place.open().await.unwrap();
    assert_eq!(open.ledger.diverged(), None);
    assert_eq!(open.ledger.latest().unwrap().checkpoint, signed.checkpoint);
    open.close();

    // The data that was thought lost turns up again: its name is not signed any more.
    restore(&place, &newest);
    let open = place.open().await.unwrap();
    let why = open.ledger.diverged().unwrap();
    assert!(why.contains("events-2"), "{why}");
    assert!(matches!(open.ledger.publish().await, Err(Error::Diverged(_))));
    open.close();
}

fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_outside_copy_refuses_until_it_is_declared_lost() {
    let place = Place::new();
    with_an_older_copy(&place).await;
    std::fs::remove_dir_all(place.outside()).unwrap();
    let refused = place.open().await.err().unwrap();
    let text = refused.to_string();
    assert!(matches!(refused, Error::OutsideLost { size: 200, .. }), "{text}");
    assert!(text.contains("--declare-outside-lost"), "{text}");
    let open = place.open_with(Options { outside_lost: true, ..place.options() }).await.unwrap();
    assert_eq!(open.ledger.diverged(), None);
    open.close();
    assert_eq!(files(&place, &place.outside()).len(), 2, "every one of them");
    place.open().await.unwrap().close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_signed_roots_of_one_size_are_never_papered_over() {
    let place = Place::new();
    with_an_older_copy(&place).await;
    let path = files(&place, &place.data().join("ledger")).pop().unwrap();
    let key = Signer::from_seed(ORIGIN, KeyKind::Text, &[1; 32]).unwrap();
    let head = tlog::Checkpoint { origin: ORIGIN.to_owned(), size: 200, root: [7; 32] };
    let forged = head.signed([&key]).unwrap().to_string();
    std::fs::write(&path, &forged).unwrap();
    let open = place.open().await.unwrap();
    assert!(open.ledger.diverged().unwrap().contains("two checkpoints over 200"));
    assert!(matches!(open.ledger.publish().await, Err(Error::Diverged(_))));
    assert!(matches!(open.ledger.inclusion(3, &header(3), None), Err(Error::Diverged(_))));
    open.ledger.inclusion(3, &header(3), Some(100)).unwrap();
    open.close();
    assert_eq!(std::fs::read_to_string(path).unwrap(), forged, "kept as evidence");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_begins_again_beside_what_was_published() {
    let place = Place::new();
    with_an_older_copy(&place).await;
    std::fs::remove_dir_all(place.data()).unwrap();
    let refused = place.open().await.err().unwrap();
    assert!(matches!(refused, Error::LogMissing { .. }), "{refused}");
    assert!(refused.to_string().contains(ORIGIN));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_that_was_changed_is_seen() {
    let place = Place::new();
    with_an_older_copy(&place).await;
    let path = files(&place, &place.outside()).pop().unwrap();
    let good = std::fs::read(&path).unwrap();
    let mut accepted = 0;
    for at in (0..good.len()).step_by(5) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        match place.open().await {
            Err(_) => {}
            Ok(open) => {
                // An id or name of no known key says nothing; what it stands under still counts.
                accepted += 1;
                assert_eq!(open.ledger.latest().unwrap().checkpoint.root, tree(200).root(), "byte {at}");
                open.close();
            }
        }
    }
    assert!(accepted < ORIGIN.len() / 5 + 4, "{accepted}");
}
