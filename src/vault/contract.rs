//! What every adapter of the vault must do, checked on each of them. A check panics with what it
//! expected. `run` wants a fresh, empty vault for each check, on the clock it is given.

use std::sync::Arc;

use super::{Act, Conflict, Entry, Error, HolderKind, Resolution, Use, Vault};
use crate::clock::{Clock, ManualClock};
use crate::domain::erasure::Left;
use crate::domain::id::SubjectId;
use crate::domain::identity::{Identifier, Kind};
use crate::domain::personal::Personal;
use crate::domain::time::{MS_PER_DAY, Timestamp};

/// Runs every check.
pub async fn run(fresh: impl AsyncFn(ManualClock) -> Arc<dyn Vault>) {
    let clock = ManualClock::at(at(1_000));
    names_the_same_person_again(&*fresh(clock.clone()).await).await;
    creates_only_for_opening_events(&*fresh(clock.clone()).await).await;
    resolves_a_batch_in_order(&*fresh(clock.clone()).await).await;
    two_callers_meet_one_new_person(fresh(clock.clone()).await).await;
    lets_a_telephone_number_change_hands(&*fresh(clock.clone()).await).await;
    ends_contacts_with_the_account(&*fresh(clock.clone()).await).await;
    keeps_devices_apart_from_people(&*fresh(clock.clone()).await).await;
    tells_what_is_seen_first(&*fresh(clock.clone()).await).await;
    sees_first_once_in_a_batch(&*fresh(clock.clone()).await).await;
    a_contact_of_the_last_instant_goes_with_the_account(&*fresh(clock.clone()).await).await;
    reports_conflicts_and_merges_nothing(&*fresh(clock.clone()).await).await;
    merges_and_splits(&*fresh(clock.clone()).await).await;
    opens_identifiers(&*fresh(clock.clone()).await).await;
    confirms_and_destroys_pending(&*fresh(clock.clone()).await, &clock).await;
    knows_late_events_of_the_erased(&*fresh(clock.clone()).await, &clock).await;
    keeps_what_proves_something_of_the_erased(&*fresh(clock.clone()).await, &clock).await;
    keeps_organisations_and_matters(&*fresh(clock.clone()).await).await;
}

/// Seconds since 1970.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::EPOCH.plus_ms(seconds * 1_000)
}

/// An identifier in its normal form; the realm is `app` where the kind has one.
pub fn named(kind: Kind, value: &str) -> Identifier {
    let realm = if kind.needs_realm() { "app".parse().ok() } else { None };
    Identifier { kind, realm, value: Personal::new(value.to_owned()) }
}

/// An entry of an opening event.
pub fn opening(identifiers: &[Identifier], when: i64) -> Entry {
    Entry {
        identifiers: identifiers.to_vec(),
        home_realm: "app".parse().ok(),
        occurred_at: at(when),
        opens: true,
        act: Act::None,
    }
}

/// An entry of an event that does not open.
pub fn using(identifiers: &[Identifier], when: i64) -> Entry {
    Entry { opens: false, ..opening(identifiers, when) }
}

async fn one(vault: &dyn Vault, entry: Entry) -> Resolution {
    let mut answers = vault.resolve(vec![entry]).await.expect("resolve");
    assert_eq!(answers.len(), 1, "one resolution per entry");
    answers.remove(0)
}

fn subject(resolution: &Resolution) -> Option<SubjectId> {
    resolution.holder.as_ref().map(|holder| holder.subject)
}

fn uses(resolution: &Resolution) -> Vec<Use> {
    resolution.marks.iter().map(|marked| marked.usage).collect()
}

async fn names_the_same_person_again(vault: &dyn Vault) {
    let (account, phone) = (named(Kind::Account, "20015"), named(Kind::Phone, "+8613912345678"));
    let first = one(vault, opening(&[account.clone(), phone.clone()], 10)).await;
    assert!(first.created && uses(&first) == [Use::Bound, Use::Bound]);
    let again = one(vault, using(&[phone.clone(), account.clone()], 20)).await;
    assert!(!again.created && uses(&again) == [Use::Known, Use::Known]);
    assert_eq!(subject(&first), subject(&again));
    assert_eq!(again.marks[1].mark, vault.marks(&account)[0]);
    let by_phone = one(vault, using(std::slice::from_ref(&phone), 20)).await;
    assert_eq!(subject(&by_phone), subject(&first));
    let (a, b) = (first.holder.expect("a holder"), again.holder.expect("a holder"));
    assert!(a.link == b.link && a.identity == b.identity && a.evidence == b.evidence);
    assert!(*a.link != [0; 32] && Some(&a.link) != a.identity.as_ref() && a.identity != a.evidence);
    let other = Identifier { realm: "shop".parse().ok(), ..account };
    let stranger = one(vault, opening(&[other], 20)).await;
    assert!(stranger.created, "one value in two realms is two people");
    let nobody = one(vault, opening(&[], 20)).await;
    assert!(nobody.holder.is_none() && nobody.marks.is_empty());
}

async fn creates_only_for_opening_events(vault: &dyn Vault) {
    let account = named(Kind::Account, "1");
    let unknown = one(vault, using(std::slice::from_ref(&account), 10)).await;
    assert!(unknown.holder.is_none() && uses(&unknown) == [Use::Unattributed]);
    let status = vault.status().await.expect("status");
    assert_eq!((status.people, status.pending), (0, 0));
    assert!(one(vault, opening(&[account], 11)).await.created);
    let after = vault.status().await.expect("status");
    assert_eq!((after.people, after.pending), (1, 1));
    assert!(after.generation > status.generation);
    for kind in [Kind::Ip, Kind::Station] {
        let alone = one(vault, opening(&[named(kind, "10.0.0.1")], 12)).await;
        assert!(alone.holder.is_none(), "{kind} alone makes nobody");
    }
}

async fn resolves_a_batch_in_order(vault: &dyn Vault) {
    let (account, phone) = (named(Kind::Account, "1"), named(Kind::Phone, "+4915112345678"));
    let batch = vec![
        using(std::slice::from_ref(&phone), 20),
        opening(&[account.clone(), phone.clone()], 10),
        using(std::slice::from_ref(&phone), 20),
        Entry { act: Act::CancelAccount, ..using(std::slice::from_ref(&account), 30) },
        using(std::slice::from_ref(&phone), 40),
        using(std::slice::from_ref(&phone), 25),
    ];
    let answers = vault.resolve(batch).await.expect("resolve");
    let person = subject(&answers[1]);
    assert!(person.is_some());
    let named: Vec<_> = answers.iter().map(subject).collect();
    assert_eq!(named, [None, person, person, person, None, person]);
}

async fn two_callers_meet_one_new_person(vault: Arc<dyn Vault>) {
    let mut callers = Vec::new();
    for caller in 0..8 {
        let vault = Arc::clone(&vault);
        callers.push(tokio::spawn(async move {
            let person = |i: usize| named(Kind::Account, &format!("{}", (i + caller) % 20));
            let batch = (0..20).map(|i| opening(&[person(i)], 10)).collect();
            let answers = vault.resolve(batch).await.expect("resolve");
            let made = answers.iter().filter(|answer| answer.created).count();
            let mut found: Vec<_> =
                (0..20).map(|i| ((i + caller) % 20, subject(&answers[i]).expect("somebody"))).collect();
            found.sort_unstable();
            (made, found)
        }));
    }
    let (mut made, mut all) = (0, Vec::new());
    for caller in callers {
        let (by_caller, found) = caller.await.expect("no panic");
        made += by_caller;
        all.push(found);
    }
    assert_eq!(made, 20, "each person is created once");
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "everybody meets the same people");
}

async fn lets_a_telephone_number_change_hands(vault: &dyn Vault) {
    let (old, new) = (named(Kind::Account, "old"), named(Kind::Account, "new"));
    let phone = named(Kind::Phone, "+8613912345678");
    let first = subject(&one(vault, opening(&[old.clone(), phone.clone()], 10)).await);
    let taken = one(vault, Entry { act: Act::RegisterAccount, ..opening(&[new, phone.clone()], 50) }).await;
    assert!(taken.created, "a new account with a known phone is a new person");
    assert_eq!(taken.conflicts, [Conflict::ContactRebound(Kind::Phone)]);
    assert_eq!(subject(&one(vault, using(std::slice::from_ref(&phone), 49)).await), first);
    assert_eq!(subject(&one(vault, using(std::slice::from_ref(&phone), 50)).await), subject(&taken));
    let ever = vault.candidates(&phone, None).await.expect("candidates");
    let spans: Vec<_> = ever.iter().map(|c| (Some(c.subject), c.from, c.to)).collect();
    assert_eq!(spans, [(first, at(10), Some(at(50))), (subject(&taken), at(50), None)]);
    let then = vault.candidates(&phone, Some(at(20))).await.expect("candidates");
    assert_eq!(then, ever[..1]);
}

async fn ends_contacts_with_the_account(vault: &dyn Vault) {
    let (account, phone) = (named(Kind::Account, "1"), named(Kind::Phone, "+41791234567"));
    let person = one(vault, opening(&[account.clone(), phone.clone()], 10)).await;
    let cancel = Entry { act: Act::CancelAccount, ..using(&[account.clone(), phone.clone()], 30) };
    assert_eq!(subject(&one(vault, cancel).await), subject(&person));
    assert_eq!(subject(&one(vault, using(std::slice::from_ref(&phone), 29)).await), subject(&person));
    assert!(one(vault, using(std::slice::from_ref(&phone), 30)).await.holder.is_none());
    assert_eq!(subject(&one(vault, using(&[account], 40)).await), subject(&person));
    let next = opening(&[named(Kind::Account, "2"), phone], 50);
    let next = one(vault, Entry { act: Act::RegisterAccount, ..next }).await;
    assert!(next.created && next.conflicts.is_empty(), "the old account does not live any more");
}

async fn keeps_devices_apart_from_people(vault: &dyn Vault) {
    let device = named(Kind::DeviceSerial, "SN1");
    let account = named(Kind::Account, "1");
    let alone = one(vault, opening(std::slice::from_ref(&device), 5)).await;
    let holder = alone.holder.clone().expect("a device person");
    assert_eq!(holder.kind, HolderKind::Device);
    let person = one(vault, opening(&[account, device.clone()], 10)).await;
    let id = subject(&person).expect("a person");
    assert_ne!(id, holder.subject);
    assert_eq!(uses(&person), [Use::Bound, Use::Seen]);
    assert_eq!(subject(&one(vault, using(std::slice::from_ref(&device), 11)).await), Some(holder.subject));
    let linked = vault.link(id, &device, at(20), Some(at(30))).await.expect("link");
    assert_eq!(linked.usage, Use::Bound);
    for (when, who) in [(19, holder.subject), (20, id), (29, id), (30, holder.subject)] {
        let answer = one(vault, using(std::slice::from_ref(&device), when)).await;
        assert_eq!(subject(&answer), Some(who), "at {when}");
    }
    let next = subject(&one(vault, opening(&[named(Kind::Account, "2")], 25)).await).expect("a person");
    vault.link(next, &device, at(25), None).await.expect("link");
    for (when, who) in [(24, id), (25, next), (99, next)] {
        let answer = one(vault, using(std::slice::from_ref(&device), when)).await;
        assert_eq!(subject(&answer), Some(who), "the next link ends the one before, at {when}");
    }
    vault.unlink(next, &device, at(60)).await.expect("unlink");
    assert_eq!(subject(&one(vault, using(std::slice::from_ref(&device), 60)).await), Some(holder.subject));
    vault.destroy(&[next]).await.expect("destroy");
    assert_eq!(subject(&one(vault, using(&[device], 22)).await), Some(id), "the other link stays");
}

async fn tells_what_is_seen_first(vault: &dyn Vault) {
    let (account, ip) = (named(Kind::Account, "1"), named(Kind::Ip, "192.0.2.1"));
    let first = one(vault, opening(&[account.clone(), ip.clone()], 10)).await;
    assert_eq!(uses(&first), [Use::Bound, Use::Seen]);
    let second = one(vault, using(&[account.clone(), ip.clone()], 11)).await;
    assert_eq!(uses(&second), [Use::Known, Use::Known]);
    let other = named(Kind::Ip, "192.0.2.2");
    assert_eq!(uses(&one(vault, using(&[account.clone(), other.clone()], 12)).await)[1], Use::Seen);
    assert_eq!(uses(&one(vault, using(&[account, other], 13)).await)[1], Use::Known);
    let behind = one(vault, opening(&[named(Kind::Account, "2"), ip.clone()], 14)).await;
    assert_eq!(uses(&behind)[1], Use::Seen);
    let candidates = vault.candidates(&ip, None).await.expect("candidates");
    let seen: Vec<_> = candidates.iter().map(|c| Some(c.subject)).collect();
    assert_eq!(seen, [subject(&first), subject(&behind)]);
}

/// The entries of one batch name one person by different strong identifiers, and the first of them
/// has to be written: the second must not be answered from what was known before.
async fn sees_first_once_in_a_batch(vault: &dyn Vault) {
    let openids = [named(Kind::Openid, "o0"), named(Kind::Openid, "o1")];
    let (phone, ip) = (named(Kind::Phone, "+8613912345678"), named(Kind::Ip, "192.0.2.1"));
    let person = subject(&one(vault, opening(&openids, 10)).await);
    let [first, second] = openids;
    let batch = vec![opening(&[second, phone, ip.clone()], 20), opening(&[first, ip.clone()], 20)];
    let answers = vault.resolve(batch).await.expect("resolve");
    assert!(person.is_some() && answers.iter().all(|answer| subject(answer) == person));
    assert_eq!(uses(&answers[0]), [Use::Known, Use::Bound, Use::Seen]);
    assert_eq!(uses(&answers[1]), [Use::Known, Use::Known], "seen for the first time once");
    assert_eq!(vault.candidates(&ip, None).await.expect("candidates").len(), 1);
}

/// A binding that would end where it begins never was.
async fn a_contact_of_the_last_instant_goes_with_the_account(vault: &dyn Vault) {
    let (account, phone) = (named(Kind::Account, "1"), named(Kind::Phone, "+41791234567"));
    let person = one(vault, opening(std::slice::from_ref(&account), 10)).await;
    let bound = one(vault, opening(&[account.clone(), phone.clone()], 30)).await;
    assert!(subject(&bound) == subject(&person) && uses(&bound)[1] == Use::Bound);
    let cancel = Entry { act: Act::CancelAccount, ..using(std::slice::from_ref(&account), 30) };
    assert_eq!(subject(&one(vault, cancel).await), subject(&person));
    for when in [30, 31, 99] {
        let late = one(vault, using(std::slice::from_ref(&phone), when)).await;
        assert!(late.holder.is_none(), "the number names nobody at {when}");
    }
    let ever = vault.candidates(&phone, None).await.expect("candidates");
    assert!(ever.iter().all(|c| c.to.is_some_and(|to| to <= at(30))), "{ever:?}");
}

async fn reports_conflicts_and_merges_nothing(vault: &dyn Vault) {
    let (account, openid) = (named(Kind::Account, "1"), named(Kind::Openid, "o1"));
    let a = one(vault, opening(std::slice::from_ref(&account), 10)).await;
    let b = one(vault, opening(std::slice::from_ref(&openid), 10)).await;
    assert_ne!(subject(&a), subject(&b));
    let both = one(vault, opening(&[openid.clone(), account], 20)).await;
    assert_eq!(subject(&both), subject(&a), "the account of the own realm is the strongest");
    assert_eq!(both.conflicts, [Conflict::Strong(Kind::Account, Kind::Openid)]);
    assert_eq!(subject(&one(vault, using(&[openid], 30)).await), subject(&b), "nothing merges implicitly");
}

async fn merges_and_splits(vault: &dyn Vault) {
    let people = [named(Kind::Account, "1"), named(Kind::Openid, "o1"), named(Kind::Unionid, "u1")];
    let mut ids = Vec::new();
    for person in &people {
        ids.push(subject(&one(vault, opening(std::slice::from_ref(person), 10)).await).expect("a person"));
    }
    vault.merge(ids[0], ids[1]).await.expect("merge");
    vault.merge(ids[1], ids[2]).await.expect("merge");
    vault.merge(ids[2], ids[0]).await.expect("merging what is one already changes nothing");
    for id in &ids {
        assert_eq!(vault.canonical(*id).await.expect("canonical"), ids[0]);
    }
    let all = one(vault, using(&people, 20)).await;
    assert!(all.conflicts.is_empty(), "one person cannot be in conflict");
    assert_eq!(subject(&one(vault, using(&people[1..2], 20)).await), Some(ids[1]), "sides stay");
    vault.split(ids[0], ids[1]).await.expect("split");
    assert_eq!(vault.canonical(ids[2]).await.expect("canonical"), ids[1]);
    assert_eq!(one(vault, using(&people, 20)).await.conflicts.len(), 2);
    assert!(matches!(vault.merge(ids[0], SubjectId([9; 16])).await, Err(Error::NotFound)));
}

async fn opens_identifiers(vault: &dyn Vault) {
    let all = [
        named(Kind::Account, "张三"),
        named(Kind::Email, "info@kstar.com.cn"),
        named(Kind::Mac, "00:11:22:33:44:55"),
    ];
    let person = subject(&one(vault, opening(&all, 10)).await).expect("a person");
    let mut found = vault.identifiers(person).await.expect("identifiers");
    found.sort_by_key(|(identifier, _)| identifier.kind);
    let values: Vec<_> = found.iter().map(|(identifier, _)| identifier.clone()).collect();
    assert_eq!(values, all);
    assert!(found.iter().all(|(_, binding)| binding.from == at(10) && binding.to.is_none()));
}

async fn confirms_and_destroys_pending(vault: &dyn Vault, clock: &ManualClock) {
    let (kept, lost) = (named(Kind::Account, "1"), named(Kind::Account, "2"));
    let kept = subject(&one(vault, opening(&[kept], 10)).await).expect("a person");
    let gone = subject(&one(vault, opening(std::slice::from_ref(&lost), 10)).await).expect("a person");
    vault.confirm(&[kept]).await.expect("confirm");
    assert_eq!(vault.pending(clock.now()).await.expect("pending"), []);
    let later = clock.now().plus_ms(1);
    assert_eq!(vault.pending(later).await.expect("pending"), [gone]);
    vault.destroy(&[gone]).await.expect("destroy");
    vault.destroy(&[gone]).await.expect("destroying again changes nothing");
    assert!(matches!(vault.holder(gone).await, Err(Error::NotFound)));
    assert_eq!(vault.holder(kept).await.expect("holder").subject, kept);
    let both = vault.holders(&[gone, kept, gone]).await.expect("holders");
    let subjects: Vec<_> = both.into_iter().map(|holder| holder.map(|holder| holder.subject)).collect();
    assert_eq!(subjects, [None, Some(kept), None], "in order, and nobody for whoever is gone");
    assert_eq!(vault.pending(later).await.expect("pending"), []);
    let retried = one(vault, opening(&[lost], 10)).await;
    assert!(retried.created && !retried.late_for_erased, "who was never recorded was never erased");
    assert_eq!(vault.status().await.expect("status").people, 2);
}

async fn knows_late_events_of_the_erased(vault: &dyn Vault, clock: &ManualClock) {
    let (account, phone) = (named(Kind::Account, "1"), named(Kind::Phone, "+8613912345678"));
    let both = [account.clone(), phone.clone()];
    let gone = subject(&one(vault, opening(&both, 10)).await).expect("a person");
    vault.confirm(&[gone]).await.expect("confirm");
    vault.destroy(&[gone]).await.expect("destroy");
    let now = clock.now().ms() / 1_000;
    for identifiers in [&both[..1], &both[1..]] {
        let late = one(vault, opening(identifiers, now - 1)).await;
        assert!(late.holder.is_none() && late.late_for_erased && !late.created);
    }
    let new = one(vault, opening(&both, now)).await;
    assert!(new.created && !new.late_for_erased && subject(&new) != Some(gone));
    let late = one(vault, using(&both[..1], now - 1)).await;
    assert!(late.late_for_erased && late.holder.is_none(), "the new person has no past");
    assert!(matches!(vault.holder(gone).await, Err(Error::NotFound)));
    clock.advance_ms(90 * MS_PER_DAY);
    let forgotten = one(vault, using(&both[..1], now - 1)).await;
    assert!(!forgotten.late_for_erased && forgotten.holder.is_none());
}

async fn keeps_what_proves_something_of_the_erased(vault: &dyn Vault, clock: &ManualClock) {
    let (account, phone) = (named(Kind::Account, "1"), named(Kind::Phone, "+8613912345678"));
    let both = [account.clone(), phone.clone()];
    let before = one(vault, opening(&both, 10)).await.holder.expect("a holder");
    let gone = before.subject;
    let unheard = subject(&one(vault, opening(&[named(Kind::Account, "2")], 10)).await).expect("a person");
    vault.confirm(&[gone]).await.expect("confirm");
    assert_eq!(vault.evidence_of(&phone).await.expect("look-up"), [], "nobody living is found so");
    let until = clock.now().plus_ms(MS_PER_DAY);
    for _ in 0..2 {
        vault.detach(&[(gone, until), (unheard, until)]).await.expect("detaching again changes nothing");
    }
    assert!(matches!(vault.holder(gone).await, Err(Error::NotFound)));
    assert_eq!(vault.candidates(&account, None).await.expect("candidates"), []);
    let status = vault.status().await.expect("status");
    assert_eq!((status.people, status.pending), (0, 0));
    let late = one(vault, using(&both[..1], clock.now().ms() / 1_000 - 1)).await;
    assert!(late.late_for_erased && late.holder.is_none());
    for identifier in &both {
        assert_eq!(vault.evidence_of(identifier).await.expect("look-up"), [gone]);
    }
    let (kept, stated) = vault.evidence_holder(gone).await.expect("what is kept");
    assert!(kept.identity.is_none() && kept.evidence == before.evidence && kept.link == before.link);
    assert_eq!(stated, until);
    assert!(matches!(vault.evidence_holder(unheard).await, Err(Error::NotFound)), "of whom nothing is known");

    let again = one(vault, opening(&both, clock.now().ms() / 1_000)).await;
    assert!(again.created && subject(&again) != Some(gone), "who comes back is somebody new");
    assert_eq!(vault.evidence_over(clock.now()).await.expect("over"), []);
    assert_eq!(vault.evidence_over(until).await.expect("over"), [gone]);
    // An older vault would know the person still; the tomb says what is left.
    let tomb = crate::record::tomb(gone);
    assert_eq!(vault.bury(&[(tomb, Left::Evidence { until })]).await.expect("bury"), 0);
    assert_eq!(vault.bury(&[(tomb, Left::Nothing)]).await.expect("bury"), 1);
    assert!(matches!(vault.evidence_holder(gone).await, Err(Error::NotFound)));
    assert_eq!(vault.evidence_of(&phone).await.expect("look-up"), []);
    assert_eq!(vault.evidence_over(until).await.expect("over"), []);
    let back = again.holder.expect("a holder").subject;
    vault.confirm(&[back]).await.expect("confirm");
    let until = until.plus_ms(5);
    let tombs = [(tomb, Left::Nothing), (crate::record::tomb(back), Left::Evidence { until })];
    assert_eq!(vault.bury(&tombs).await.expect("bury"), 1);
    assert_eq!(vault.bury(&tombs).await.expect("bury"), 0);
    assert_eq!(vault.evidence_holder(back).await.expect("what is kept").1, until);
}

async fn keeps_organisations_and_matters(vault: &dyn Vault) {
    let kstar = vault.holder_of(HolderKind::Organisation, "kstar").await.expect("an organisation");
    let again = vault.holder_of(HolderKind::Organisation, "kstar").await.expect("an organisation");
    assert!(kstar.subject == again.subject && kstar.identity == again.identity);
    let matter = vault.holder_of(HolderKind::Matter, "kstar").await.expect("a matter");
    assert_ne!(matter.subject, kstar.subject);
    assert_eq!(vault.holder(matter.subject).await.expect("holder").kind, HolderKind::Matter);
    assert!(vault.holder_of(HolderKind::Person, "kstar").await.is_err(), "people have no names here");
    let status = vault.status().await.expect("status");
    assert_eq!((status.people, status.pending), (0, 0));
}
