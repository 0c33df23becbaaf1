//! The register of SDKs: what was declared of each against what it was seen to read and was given, by version
//! of the SDK and of the app; and the two lists that an app shows to the public (MIIT notice of 2021-11-01).
//!
//! Computed when asked for, as things stood at an instant and as was known before a position; nothing here is
//! about one person. PIPL 5 to 7, 17, 23.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::event::catalogue::{ActivityRegistered, DataShared, RecipientRegistered, SdkObserved};
use crate::domain::event::{Body, MappingKind, RecipientRole, ShareMethod, Source};
use crate::domain::id::Id;
use crate::domain::time::Timestamp;
use crate::domain::vocabulary;
use crate::views::Error;
use crate::views::ask::Ask;
use crate::views::flows::merged;
use crate::views::registers::Registers;
use crate::views::ropa::{Moment, receives};
use crate::views::shape::Shape;
use crate::views::stretch::{Scope, Stretch};

/// One SDK.
#[derive(Debug, Clone, PartialEq)]
pub struct Sdk {
    pub name: Id,
    /// Who is behind it; `None` where nobody registered it, or it has ended: used but undeclared.
    pub recipient: Option<(Id, RecipientRegistered)>,
    /// By when each version was first seen, then by name.
    pub uses: Vec<Use>,
    /// Declared, and in no version seen to be read or given.
    pub unused: BTreeSet<Id>,
}

/// One version of an SDK in one version of an app.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    pub sdk_version: Option<Id>,
    pub app_version: Option<Id>,
    pub services: BTreeSet<Id>,
    /// Read by it, as somebody observed.
    pub read: BTreeSet<Id>,
    /// Given to it.
    pub given: BTreeSet<Id>,
    /// Of both, what nobody declared.
    pub undeclared: BTreeSet<Id>,
    /// Whether the version is one that was declared; `None` where no version was.
    pub version_declared: Option<bool>,
    /// Read by this version of the SDK and not by the one seen before it, and the other way round.
    pub added: BTreeSet<Id>,
    pub removed: BTreeSet<Id>,
    /// Single acts before any consent, and while the app was not in the foreground.
    pub before_consent: u64,
    pub in_background: u64,
    pub count: u64,
    pub first: Timestamp,
    pub last: Timestamp,
    /// The first positions.
    pub samples: Vec<u64>,
}

/// One line of the list of what an app collects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collected {
    pub category: Id,
    pub purpose: Option<Id>,
    /// The scene: what the user does.
    pub activity: Option<Id>,
    /// The SDK that collects it inside the app.
    pub sdk: Option<Id>,
    pub sensitive: bool,
    /// Whether the service cannot be had without it.
    pub required: bool,
    pub sources: BTreeSet<Source>,
    /// Whether the register says so, and whether events do.
    pub registered: bool,
    pub observed: bool,
}

/// One line of the list of whom an app shares with.
#[derive(Debug, Clone, PartialEq)]
pub struct Shared {
    pub recipient: Id,
    /// `None` where it is not registered, or has ended.
    pub registered: Option<RecipientRegistered>,
    pub cats: BTreeSet<Id>,
    pub purposes: BTreeSet<Id>,
    /// The scenes.
    pub activities: BTreeSet<Id>,
    pub methods: BTreeSet<ShareMethod>,
    pub sdk_versions: BTreeSet<Id>,
    pub app_versions: BTreeSet<Id>,
    pub observed: bool,
}

/// The two lists of one app.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AppLists {
    pub collected: Vec<Collected>,
    pub shared: Vec<Shared>,
}

impl Ask {
    /// Every SDK that is registered or was seen, by name.
    pub fn sdks(&self, registers: &Registers, moment: Moment) -> Result<Vec<Sdk>, Error> {
        let seen = Seen::new(self, registers, moment);
        let mut uses: BTreeMap<Id, Uses> = BTreeMap::new();
        for (number, shape) in seen.shapes() {
            match &shape.body {
                Some(Body::SdkObserved(body)) => seen.observed(&mut uses, number, &shape, body)?,
                Some(Body::DataShared(body)) => seen.given(&mut uses, number, &shape, body)?,
                _ => {}
            }
        }
        for (name, ..) in seen.declared.values() {
            uses.entry(name.clone()).or_default();
        }
        Ok(uses.into_iter().map(|(name, uses)| seen.sdk(name, uses)).collect())
    }

    /// What the app of a service collects and with whom it shares, for everybody to read.
    pub fn app_lists(&self, registers: &Registers, service: &Id, moment: Moment) -> Result<AppLists, Error> {
        let seen = Seen::new(self, registers, moment);
        let mut lists = Lists::default();
        for activity in registers.activities.keys() {
            if let Some(body) = seen.activity(activity).filter(|body| body.service.as_ref() == Some(service))
            {
                lists.register(&seen, activity, &body);
            }
        }
        for (number, shape) in seen.shapes() {
            let mine = shape.service.as_ref() == Some(service)
                || seen.resolved(&shape).is_some_and(|body| body.service.as_ref() == Some(service));
            if mine && seen.stretch(number)?.is_some() {
                lists.observe(&seen, &shape);
            }
        }
        Ok(AppLists {
            collected: lists.collected.into_values().collect(),
            shared: lists.shared.into_values().collect(),
        })
    }
}

/// By version of the SDK and of the app.
type Uses = BTreeMap<(Option<Id>, Option<Id>), Use>;

/// What was seen up to a moment, and what was declared then.
struct Seen<'a> {
    ask: &'a Ask,
    registers: &'a Registers,
    moment: Moment,
    /// By recipient: the SDK's name and the registration.
    declared: BTreeMap<Id, (Id, RecipientRegistered)>,
}

impl<'a> Seen<'a> {
    fn new(ask: &'a Ask, registers: &'a Registers, moment: Moment) -> Seen<'a> {
        let moment = Moment { known_at: moment.known_at.min(ask.applied), ..moment };
        let mut declared = BTreeMap::new();
        for id in registers.recipients.keys() {
            let Some(body) = receives(registers, id, moment) else { continue };
            // One that is registered as an SDK without saying its name is called by its id.
            let name = match &body.sdk {
                Some(sdk) => sdk.name.clone(),
                None if body.role == Some(RecipientRole::Sdk) => id.clone(),
                None => continue,
            };
            declared.insert(id.clone(), (name, body));
        }
        Seen { ask, registers, moment, declared }
    }

    fn shapes(&self) -> Vec<(u32, std::sync::Arc<Shape>)> {
        let shapes = self.ask.shapes();
        shapes.iter().map(|(number, shape)| (number, std::sync::Arc::clone(shape))).collect()
    }

    /// All records of a shape up to the moment.
    fn stretch(&self, number: u32) -> Result<Option<Stretch>, Error> {
        let scope = Scope { to: Some(self.moment.as_of.plus_ms(1)), ..Scope::all(self.moment.known_at) };
        Ok(self.ask.stretches(number, Vec::new(), &scope)?.pop())
    }

    fn activity(&self, activity: &Id) -> Option<std::sync::Arc<ActivityRegistered>> {
        let Moment { as_of, known_at } = self.moment;
        Some(self.registers.activity_at(activity, as_of, known_at)?.entry.body)
    }

    /// The activity that events of a shape are part of, after mappings.
    fn resolved(&self, shape: &Shape) -> Option<std::sync::Arc<ActivityRegistered>> {
        let Moment { as_of, known_at } = self.moment;
        Some(self.registers.resolved(shape, as_of, known_at)?.entry.body)
    }

    fn cats(&self, shape: &Shape, stated: &[Id]) -> BTreeSet<Id> {
        let registered = self.resolved(shape);
        let cats = match &registered {
            Some(activity) if stated.is_empty() => &*activity.cats,
            _ => stated,
        };
        cats.iter().map(|cat| self.mapped(MappingKind::Category, cat, shape)).collect()
    }

    fn mapped(&self, kind: MappingKind, term: &Id, shape: &Shape) -> Id {
        self.registers.mapped(kind, term, &shape.emitter, self.moment.known_at)
    }

    fn observed(
        &self,
        uses: &mut BTreeMap<Id, Uses>,
        number: u32,
        shape: &Shape,
        body: &SdkObserved,
    ) -> Result<(), Error> {
        let Some(name) = &body.sdk_name else { return Ok(()) };
        let Some(stretch) = self.stretch(number)? else { return Ok(()) };
        let versions = (body.sdk_version.clone(), body.app_version.clone());
        let one = uses.entry(name.clone()).or_default();
        let one = one.entry(versions.clone()).or_insert_with(|| Use::new(versions, &stretch));
        one.add(shape, &stretch);
        one.read.extend(body.cats.iter().map(|cat| self.mapped(MappingKind::Category, cat, shape)));
        one.before_consent += if body.before_consent == Some(true) { stretch.count } else { 0 };
        one.in_background += if body.foreground == Some(false) { stretch.count } else { 0 };
        Ok(())
    }

    fn given(
        &self,
        uses: &mut BTreeMap<Id, Uses>,
        number: u32,
        shape: &Shape,
        body: &DataShared,
    ) -> Result<(), Error> {
        let Some(stated) = &body.recipient_id else { return Ok(()) };
        let recipient = self.mapped(MappingKind::Recipient, stated, shape);
        let name = match self.declared.get(&recipient) {
            Some((name, _)) => name.clone(),
            None if body.method == Some(ShareMethod::Sdk) => recipient,
            None => return Ok(()),
        };
        let Some(stretch) = self.stretch(number)? else { return Ok(()) };
        let versions = (body.sdk_version.clone(), body.app_version.clone());
        let one = uses.entry(name).or_default();
        let one = one.entry(versions.clone()).or_insert_with(|| Use::new(versions, &stretch));
        one.add(shape, &stretch);
        one.given.extend(self.cats(shape, &body.cats));
        Ok(())
    }

    fn sdk(&self, name: Id, uses: Uses) -> Sdk {
        let recipient = self.declared.iter().find(|(_, (declared, _))| *declared == name);
        let recipient = recipient.map(|(id, (_, body))| (id.clone(), body.clone()));
        let mut uses: Vec<Use> = uses.into_values().collect();
        uses.sort_by(|a, b| {
            (a.first, &a.sdk_version, &a.app_version).cmp(&(b.first, &b.sdk_version, &b.app_version))
        });
        changes(&mut uses);
        let declared: &[Id] = recipient.as_ref().map_or(&[], |(_, body)| &body.cats);
        let versions = recipient.as_ref().and_then(|(_, body)| body.sdk.as_ref());
        let versions = versions.map_or(&[][..], |sdk| &sdk.versions);
        for one in &mut uses {
            let both = one.read.iter().chain(&one.given);
            let covered =
                |cat: &&Id| declared.iter().any(|ours| vocabulary::satisfies(cat.as_str(), ours.as_str()));
            one.undeclared = both.filter(|cat| !covered(cat)).cloned().collect();
            let known = one.sdk_version.as_ref().map(|version| versions.contains(version));
            one.version_declared = known.filter(|_| !versions.is_empty());
        }
        let used = |cat: &&Id| {
            let mut all = uses.iter().flat_map(|one| one.read.iter().chain(&one.given));
            all.any(|seen| vocabulary::satisfies(seen.as_str(), cat.as_str()))
        };
        let unused = declared.iter().filter(|cat| !used(cat)).cloned().collect();
        Sdk { name, recipient, uses, unused }
    }
}

/// What each version of an SDK reads more and less than the one that was seen before it, in whichever app.
fn changes(uses: &mut [Use]) {
    let mut order: Vec<(Id, BTreeSet<Id>)> = Vec::new();
    for one in uses.iter() {
        let Some(version) = &one.sdk_version else { continue };
        match order.iter_mut().find(|(known, _)| known == version) {
            Some((_, read)) => read.extend(one.read.iter().cloned()),
            None => order.push((version.clone(), one.read.clone())),
        }
    }
    for one in uses {
        let at = order.iter().position(|(version, _)| Some(version) == one.sdk_version.as_ref());
        let Some(at) = at.filter(|at| *at > 0) else { continue };
        let (before, now) = (&order[at - 1].1, &order[at].1);
        one.added = now.difference(before).cloned().collect();
        one.removed = before.difference(now).cloned().collect();
    }
}

impl Use {
    fn new((sdk_version, app_version): (Option<Id>, Option<Id>), stretch: &Stretch) -> Use {
        Use {
            sdk_version,
            app_version,
            services: BTreeSet::new(),
            read: BTreeSet::new(),
            given: BTreeSet::new(),
            undeclared: BTreeSet::new(),
            version_declared: None,
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            before_consent: 0,
            in_background: 0,
            count: 0,
            first: stretch.first,
            last: stretch.last,
            samples: Vec::new(),
        }
    }

    fn add(&mut self, shape: &Shape, stretch: &Stretch) {
        self.services.extend(shape.service.clone());
        self.count = self.count.saturating_add(stretch.count);
        (self.first, self.last) = (self.first.min(stretch.first), self.last.max(stretch.last));
        self.samples = merged(&self.samples, &stretch.samples);
    }
}

/// (category, purpose, activity, SDK).
type CollectedKey = (Id, Option<Id>, Option<Id>, Option<Id>);

#[derive(Default)]
struct Lists {
    collected: BTreeMap<CollectedKey, Collected>,
    shared: BTreeMap<Id, Shared>,
}

impl Lists {
    /// What the register says of one activity.
    fn register(&mut self, seen: &Seen<'_>, activity: &Id, body: &ActivityRegistered) {
        for cat in body.cats.iter() {
            let purposes = body.purposes.iter().map(|purpose| Some(purpose.id.clone()));
            let none = body.purposes.is_empty().then_some(None);
            for purpose in purposes.chain(none) {
                let line = self.line((cat.clone(), purpose, Some(activity.clone()), None), body.sensitive);
                line.registered = true;
                line.required |= body.required.contains(cat);
                line.sources.extend(body.source);
            }
        }
        for recipient in body.recipients.iter() {
            let shared = self.recipient(seen, recipient);
            let theirs = shared.registered.as_ref().map_or(&[][..], |theirs| &theirs.cats);
            let declared = |cat: &&Id| {
                theirs.is_empty()
                    || theirs.iter().any(|one| vocabulary::satisfies(cat.as_str(), one.as_str()))
            };
            let cats: Vec<Id> = body.cats.iter().filter(declared).cloned().collect();
            shared.cats.extend(cats);
            shared.purposes.extend(body.purposes.iter().map(|purpose| purpose.id.clone()));
            shared.activities.insert(activity.clone());
        }
    }

    /// What an event of the app says.
    fn observe(&mut self, seen: &Seen<'_>, shape: &Shape) {
        let scene = seen.registers.performed(shape, seen.moment.known_at);
        match &shape.body {
            Some(Body::DataCollected(body)) => {
                let registered = seen.resolved(shape);
                let purposes = match &registered {
                    Some(activity) if body.purposes.is_empty() => &*activity.purposes,
                    _ => &*body.purposes,
                };
                let sensitive = body.sensitive.or_else(|| registered.as_ref()?.sensitive);
                for cat in seen.cats(shape, &body.cats) {
                    let mapped =
                        purposes.iter().map(|p| Some(seen.mapped(MappingKind::Purpose, &p.id, shape)));
                    for purpose in mapped.chain(purposes.is_empty().then_some(None)) {
                        let line = self.line((cat.clone(), purpose, scene.clone(), None), sensitive);
                        line.observed = true;
                        line.required |= body.required == Some(true);
                        line.sources.extend(body.source);
                    }
                }
            }
            Some(Body::SdkObserved(body)) => {
                for cat in body.cats.iter() {
                    let cat = seen.mapped(MappingKind::Category, cat, shape);
                    let line = self.line((cat, None, scene.clone(), body.sdk_name.clone()), None);
                    line.observed = true;
                    line.sources.insert(Source::Device);
                }
                let behind = seen.declared.iter().find(|(_, (name, _))| Some(name) == body.sdk_name.as_ref());
                let behind = behind.map(|(id, _)| id.clone()).or_else(|| body.sdk_name.clone());
                if let Some(recipient) = behind {
                    let cats = body.cats.iter().map(|cat| seen.mapped(MappingKind::Category, cat, shape));
                    let shared = self.recipient(seen, &recipient);
                    shared.cats.extend(cats);
                    shared.methods.insert(ShareMethod::Sdk);
                    shared.sdk_versions.extend(body.sdk_version.clone());
                    shared.app_versions.extend(body.app_version.clone());
                    shared.observed = true;
                }
            }
            Some(Body::DataShared(body)) => {
                let Some(stated) = &body.recipient_id else { return };
                let recipient = seen.mapped(MappingKind::Recipient, stated, shape);
                let cats = seen.cats(shape, &body.cats);
                let purpose =
                    body.purpose.as_ref().map(|purpose| seen.mapped(MappingKind::Purpose, purpose, shape));
                let shared = self.recipient(seen, &recipient);
                shared.cats.extend(cats);
                shared.purposes.extend(purpose);
                shared.activities.extend(scene);
                shared.methods.extend(body.method);
                shared.sdk_versions.extend(body.sdk_version.clone());
                shared.app_versions.extend(body.app_version.clone());
                shared.observed = true;
            }
            _ => {}
        }
    }

    fn line(&mut self, key: CollectedKey, sensitive: Option<bool>) -> &mut Collected {
        let by_category = vocabulary::level(key.0.as_str()) == Some(vocabulary::Level::Sensitive);
        let line =
            self.collected.entry(key).or_insert_with_key(|(category, purpose, activity, sdk)| Collected {
                category: category.clone(),
                purpose: purpose.clone(),
                activity: activity.clone(),
                sdk: sdk.clone(),
                sensitive: by_category,
                required: false,
                sources: BTreeSet::new(),
                registered: false,
                observed: false,
            });
        line.sensitive |= sensitive == Some(true);
        line
    }

    fn recipient(&mut self, seen: &Seen<'_>, id: &Id) -> &mut Shared {
        self.shared.entry(id.clone()).or_insert_with(|| {
            let registered = receives(seen.registers, id, seen.moment);
            let sdk = registered.as_ref().and_then(|body| body.sdk.as_ref());
            Shared {
                recipient: id.clone(),
                cats: BTreeSet::new(),
                purposes: registered.iter().flat_map(|body| body.purposes.iter().cloned()).collect(),
                activities: BTreeSet::new(),
                methods: sdk.map(|_| ShareMethod::Sdk).into_iter().collect(),
                sdk_versions: sdk.into_iter().flat_map(|sdk| sdk.versions.iter().cloned()).collect(),
                app_versions: BTreeSet::new(),
                observed: false,
                registered,
            }
        })
    }
}
