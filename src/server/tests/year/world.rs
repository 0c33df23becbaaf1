//! The company's year as its services see it, and the model that is told the same.

use serde_json::{Value, json};

use super::super::instructions::plan;
use super::super::*;
use super::model::{Key, Person, Rule, first_rules};
use crate::domain::id::SubjectId;
use crate::domain::retention::laws::naive;
use pb::event::Body;

/// The whole of it.
pub struct World {
    pub place: Place,
    pub running: Running,
    pub people: Vec<Person>,
    rules: Vec<Value>,
    /// What happened to the services and the rules.
    house: Vec<Value>,
    random: u64,
    sent: u64,
    ended: bool,
}

impl World {
    pub async fn of_the_company() -> World {
        let place = Place::new();
        place.clock.set("2026-01-01T00:00:00Z".parse().unwrap());
        let mut config = place.config();
        // The test is the clock.
        config.jobs.each.values_mut().for_each(|timing| timing.schedule = "off".to_owned());
        let running = Server::start(config, Arc::new(place.clock.clone())).await.unwrap();
        let (people, rules, house) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = World { place, running, people, rules, house, random: 7, sent: 0, ended: false };
        let kstar = pb::ControllerRegistered {
            controller: "kstar".to_owned(),
            legal_name: "KSTAR".to_owned(),
            country: "CN".to_owned(),
            ..Default::default()
        };
        world.say(None, "", Body::ControllerRegistered(Box::new(kstar))).await;
        for (service, hangs) in [("shop", vec![]), ("solar", vec!["shop".to_owned()])] {
            let body = Body::ServiceRegistered(pb::ServiceRegistered {
                service: service.to_owned(),
                owner: "kstar".to_owned(),
                tz: "Asia/Shanghai".to_owned(),
                silence_after_minutes: Some(1_000_000),
                account_services: hangs,
                ..Default::default()
            });
            let at = world.say(None, "", body).await;
            world.house.push(json!({"at": at, "type": "ServiceRegistered", "service": service}));
        }
        for rule in first_rules() {
            world.publish(&rule).await;
        }
        world
    }

    /// A number below another, the same in every run.
    fn below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    /// No two things happen at one instant.
    pub fn tick(&self) {
        self.place.clock.advance_ms(7_001);
    }

    pub async fn day_begins(&mut self, day: i64) {
        let begin: Timestamp = "2026-01-01T06:00:00Z".parse().unwrap();
        let at = begin.plus_ms(day * MS_PER_DAY).max(self.place.clock.now());
        self.place.clock.set(at);
    }

    /// Records an event now, and says when that was.
    async fn say(&mut self, who: Option<usize>, service: &str, body: Body) -> String {
        self.tick();
        self.sent += 1;
        let mut event = pb::Event { body: Some(body), service: service.to_owned(), ..self.place.event(1) };
        event.event_id = format!("018f3a1c-0000-7000-8000-{:012x}", self.sent);
        event.regimes = vec!["CN".to_owned()];
        match who {
            Some(who) => event.people[0].identifiers[0].value = self.people[who].name.clone(),
            None => event.people.clear(),
        }
        if matches!(event.body, Some(Body::RetentionRulePublished(_) | Body::RetentionRuleAnnulled(_))) {
            event.people = vec![pb::Person {
                role: pb::Role::Staff as i32,
                identifiers: vec![pb::Identifier {
                    kind: pb::IdentifierKind::Account as i32,
                    realm: "staff".to_owned(),
                    value: "second-officer".to_owned(),
                }],
            }];
        }
        let request = pb::RecordEventRequest { event: Some(event) };
        client(&self.running)
            .await
            .ingest()
            .record_event(request)
            .await
            .unwrap_or_else(|why| panic!("{why:?}"));
        self.place.clock.now().to_string()
    }

    async fn tell(&mut self, who: usize, service: &str, body: Body, mut model: Value) {
        let at = self.say(Some(who), service, body).await;
        model["at"] = json!(at);
        self.people[who].events.push(model);
    }

    pub async fn publish(&mut self, rule: &Rule) {
        let body = pb::RetentionRulePublished { rule: Some(rule.wire.clone()), ..Default::default() };
        self.say(None, "", Body::RetentionRulePublished(Box::new(body))).await;
        self.rules.push(rule.model.clone());
    }

    pub async fn annul(&mut self, version: &str) {
        let body = pb::RetentionRuleAnnulled {
            rule: version.to_owned(),
            version: version.to_owned(),
            reason: "wrong_anchor".to_owned(),
        };
        let at = self.say(None, "", Body::RetentionRuleAnnulled(body)).await;
        self.house.push(json!({"at": at, "type": "RetentionRuleAnnulled", "rule": version}));
    }

    pub async fn hold_shop(&mut self, place: bool) {
        if place {
            let body = pb::LegalHoldPlaced {
                service: "shop".to_owned(),
                hold_id: "shop-matter".to_owned(),
                ground: pb::HoldGround::Investigation as i32,
                ..Default::default()
            };
            let at = self.say(None, "", Body::LegalHoldPlaced(body)).await;
            self.house.push(json!({"at": at, "type": "LegalHoldPlaced", "hold": "shop-matter",
                "selector": {"service": "shop"}}));
        } else {
            let body = pb::LegalHoldReleased { hold_id: "shop-matter".to_owned(), ..Default::default() };
            let at = self.say(None, "", Body::LegalHoldReleased(body)).await;
            self.house.push(json!({"at": at, "type": "LegalHoldReleased", "hold": "shop-matter"}));
        }
    }

    pub async fn notify_end(&mut self) {
        let end: Timestamp = "2026-11-27T06:00:00Z".parse().unwrap();
        let body = pb::ServiceTerminationNotified {
            service: "solar".to_owned(),
            channels: vec!["push".to_owned()],
            end_at: Some(crate::cli::record::timestamp(end)),
            ..Default::default()
        };
        let at = self.say(None, "", Body::ServiceTerminationNotified(body)).await;
        self.house.push(json!({"at": at, "type": "ServiceTerminationNotified", "service": "solar"}));
    }

    pub async fn terminate(&mut self) {
        let body = pb::ServiceTerminated { service: "solar".to_owned(), ..Default::default() };
        let at = self.say(None, "", Body::ServiceTerminated(body)).await;
        self.house.push(json!({"at": at, "type": "ServiceTerminated", "service": "solar"}));
        self.ended = true;
    }

    pub async fn somebody_comes(&mut self) {
        let name = format!("account-{:04}-of-the-year", self.people.len());
        let (events, subject, hold) = (Vec::new(), None, None);
        let person =
            Person { name, events, subject, gone: false, account: true, hold, restricted: false, orders: 0 };
        self.people.push(person);
        let who = self.people.len() - 1;
        self.registers(who).await;
        self.collects(who, "solar", "profile", "pd:TelephoneNumber", "", ("service_provision", "contract"))
            .await;
        self.consents(who, "direct_marketing").await;
        self.collects(who, "solar", "profile", "pd:EmailAddress", "", ("direct_marketing", "consent")).await;
        let found = self.find(who).await;
        self.people[who].subject = found;
    }

    async fn find(&self, who: usize) -> Option<SubjectId> {
        let mut wire = self.place.event(1).people[0].identifiers[0].clone();
        wire.value = self.people[who].name.clone();
        let request = pb::FindSubjectRequest { identifier: Some(wire) };
        let found = client(&self.running).await.subjects().find_subject(request).await.unwrap().into_inner();
        found.candidates.first().map(|candidate| candidate.subject.parse().unwrap())
    }

    async fn registers(&mut self, who: usize) {
        self.tell(
            who,
            "solar",
            Body::AccountRegistered(pb::AccountRegistered::default()),
            json!({"type": "AccountRegistered"}),
        )
        .await;
        self.people[who].account = true;
    }

    async fn consents(&mut self, who: usize, purpose: &str) {
        let body = pb::ConsentGiven {
            purpose: purpose.to_owned(),
            kind: pb::ConsentKind::Separate.into(),
            ..Default::default()
        };
        self.tell(
            who,
            "solar",
            Body::ConsentGiven(body),
            json!({"type": "ConsentGiven", "purpose": purpose}),
        )
        .await;
    }

    async fn collects(
        &mut self,
        who: usize,
        service: &str,
        kind: &str,
        category: &str,
        slot: &str,
        (purpose, basis): (&str, &str),
    ) {
        let wire = match basis {
            "contract" => pb::LegalBasis::Contract,
            _ => pb::LegalBasis::Consent,
        };
        let body = pb::DataCollected {
            record_kind: kind.to_owned(),
            cats: vec![category.to_owned()],
            slot: slot.to_owned(),
            purposes: vec![pb::PurposeBasis { id: purpose.to_owned(), basis: wire.into() }],
            ..Default::default()
        };
        let mut datum = Key::new(service, kind, category, slot).json();
        datum.insert("id".to_owned(), json!("d"));
        datum.insert("regimes".to_owned(), json!(["CN"]));
        datum.insert("purposes".to_owned(), json!([{"id": purpose, "basis": basis}]));
        if kind == "location" {
            // The server keeps them by the day, as it is in the service's zone when the event is recorded.
            let at = self.place.clock.now().plus_ms(7_001);
            datum.insert("slot".to_owned(), json!(at.local_date(chrono_tz::Asia::Shanghai).to_string()));
        }
        self.tell(who, service, Body::DataCollected(body), json!({"type": "DataCollected", "datum": datum}))
            .await;
    }

    /// Something that happens to somebody on any day.
    pub async fn something_happens(&mut self, day: i64) {
        let n = self.people.len() as u64;
        let who = self.below(n) as usize;
        if self.people[who].gone {
            return;
        }
        let (services, order) = (!self.ended && self.people[who].account, self.people[who].orders);
        match self.below(15) {
            0 | 1 if services => {
                let slot = format!("order-{order}");
                self.people[who].orders += 1;
                self.collects(
                    who,
                    "shop",
                    "transaction",
                    "pd:Transaction",
                    &slot,
                    ("fulfil_order", "contract"),
                )
                .await;
                if self.below(3) > 0 {
                    let body = pb::TransactionCompleted {
                        record_kind: "transaction".to_owned(),
                        slot: slot.clone(),
                        ..Default::default()
                    };
                    let model =
                        json!({"type": "TransactionCompleted", "record_kind": "transaction", "slot": slot});
                    self.tell(who, "shop", Body::TransactionCompleted(body), model).await;
                }
            }
            2 if services => {
                self.consents(who, "personalisation").await;
                let slot = format!("photo-{}", day % 3);
                self.collects(who, "solar", "photo", "pd:Picture", &slot, ("personalisation", "consent"))
                    .await;
            }
            3 | 4 if services => {
                self.consents(who, "location_service").await;
                self.collects(
                    who,
                    "solar",
                    "location",
                    "pd:GPSCoordinate",
                    "",
                    ("location_service", "consent"),
                )
                .await;
            }
            5 => self.withdraws(who, "direct_marketing").await,
            6 => self.withdraws(who, "personalisation").await,
            7 if services => {
                self.consents(who, "direct_marketing").await;
                self.collects(
                    who,
                    "solar",
                    "profile",
                    "pd:EmailAddress",
                    "",
                    ("direct_marketing", "consent"),
                )
                .await;
            }
            8 | 9 if self.people[who].account => {
                let body = Body::AccountCancelled(pb::AccountCancelled::default());
                self.tell(who, "solar", body, json!({"type": "AccountCancelled"})).await;
                self.people[who].account = false;
            }
            10 if !self.people[who].account && !self.ended => {
                self.registers(who).await;
                self.collects(
                    who,
                    "solar",
                    "profile",
                    "pd:TelephoneNumber",
                    "",
                    ("service_provision", "contract"),
                )
                .await;
            }
            11 => self.holds(who, day).await,
            12 if day % 3 == 0 => {
                let body = pb::ErasureAccepted { case_id: format!("case-{day}-{who}"), ..Default::default() };
                self.tell(
                    who,
                    "solar",
                    Body::ErasureAccepted(body),
                    json!({"type": "ErasureAccepted", "case": "c"}),
                )
                .await;
            }
            13 => self.restricts(who).await,
            _ => {}
        }
    }

    async fn withdraws(&mut self, who: usize, purpose: &str) {
        let body = pb::ConsentWithdrawn { purpose: purpose.to_owned(), ..Default::default() };
        let model = json!({"type": "ConsentWithdrawn", "purpose": purpose});
        self.tell(who, "solar", Body::ConsentWithdrawn(body), model).await;
    }

    async fn holds(&mut self, who: usize, day: i64) {
        if let Some(hold) = self.people[who].hold.take() {
            let body = pb::LegalHoldReleased { hold_ref: hold.clone(), ..Default::default() };
            let model = json!({"type": "LegalHoldReleased", "hold": hold});
            self.tell(who, "solar", Body::LegalHoldReleased(body), model).await;
            return;
        }
        let hold = format!("hold-{day}-{who}");
        let body = pb::LegalHoldPlaced {
            hold_ref: hold.clone(),
            ground: pb::HoldGround::LegalClaims as i32,
            ..Default::default()
        };
        let model = json!({"type": "LegalHoldPlaced", "hold": hold});
        self.tell(who, "solar", Body::LegalHoldPlaced(body), model).await;
        self.people[who].hold = Some(hold);
    }

    async fn restricts(&mut self, who: usize) {
        let restricted = self.people[who].restricted;
        if restricted {
            let body = pb::RestrictionLifted {
                ground: pb::RestrictionGround::RestrictionGround181C as i32,
                ..Default::default()
            };
            let model = json!({"type": "RestrictionLifted", "ground": "18-1-c"});
            self.tell(who, "solar", Body::RestrictionLifted(body), model).await;
        } else {
            let body = pb::RestrictionApplied {
                ground: pb::RestrictionGround::RestrictionGround181C as i32,
                ..Default::default()
            };
            let model = json!({"type": "RestrictionApplied", "ground": "18-1-c"});
            self.tell(who, "solar", Body::RestrictionApplied(body), model).await;
        }
        self.people[who].restricted = !restricted;
    }

    pub async fn run_jobs(&self) {
        for job in ["retention_sweep", "service_end_sweep", "evidence_sweep", "ack_chaser"] {
            self.tick();
            let run = self.running.jobs().run_by_hand(job).await.unwrap();
            assert_eq!(run.ran.outcome, Some(crate::domain::event::JobOutcome::Ok), "{run:?}");
        }
    }

    /// An officer approves whatever waits.
    pub async fn approve_all(&self) {
        let mut plans = client(&self.running).await.plans();
        let waiting = pb::ListPlansRequest { state: pb::PlanState::Waiting as i32, ..Default::default() };
        let listed = plans.list_plans(waiting).await.unwrap().into_inner().plans;
        for plan in listed {
            self.tick();
            let request = pb::ApprovePlanRequest {
                plan_id: plan.plan_id,
                plan_sha256: plan.plan_sha256,
                reason: "looked_at".to_owned(),
            };
            plans.approve_plan(request).await.unwrap();
        }
        // What waited behind a plan is planned now.
        self.tick();
        plan(&self.running).await;
    }

    /// How many open instructions rest on a version of a rule.
    pub async fn told_by(&self, version: &str) -> usize {
        let mut instructions = client(&self.running).await.instructions();
        let request = pb::ListInstructionsRequest { page_size: 1_000, ..Default::default() };
        let open = instructions.list_instructions(request).await.unwrap().into_inner().instructions;
        open.iter().filter(|told| told.because.iter().any(|because| because == version)).count()
    }

    pub async fn may_go_ahead(&self, service: &str, id: &str) -> bool {
        let request = pb::BeginInstructionRequest {
            addressee: service.to_owned(),
            instruction_ids: vec![id.to_owned()],
        };
        let answer = client(&self.running).await.instructions().begin_instruction(request).await.unwrap();
        let result = answer.into_inner().results.remove(0).result.unwrap();
        result == pb::begin_instruction_result::Result::Answer(pb::InstructionAnswer::Go as i32)
    }

    /// What a service did, as the model hears it.
    pub fn executed(&mut self, who: usize, key: &Key, told: &pb::Instruction) {
        let name = match told.kind() {
            pb::InstructionKind::Anonymise => "AnonymisationExecuted",
            _ => "ErasureExecuted",
        };
        let mut event =
            json!({"at": self.place.clock.now().to_string(), "type": name, "selector": key.json()});
        if let Some(before) = &told.collected_before {
            let ms = before.seconds * 1_000 + i64::from(before.nanos) / 1_000_000;
            event["collected_before"] = json!(Timestamp::from_ms(ms).unwrap().to_string());
        }
        self.people[who].events.push(event);
    }

    pub fn who(&self, name: &str) -> usize {
        self.people.iter().position(|person| person.name == name).unwrap()
    }

    /// Whoever was erased in the vault is heard of no more.
    pub async fn somebody_is_gone(&mut self) {
        for who in 0..self.people.len() {
            if !self.people[who].gone && !self.people[who].account {
                self.people[who].gone = self.find(who).await.is_none();
            }
        }
        if self.ended {
            for who in 0..self.people.len() {
                self.people[who].gone = self.people[who].gone || self.find(who).await.is_none();
            }
        }
    }

    pub async fn explain(&self, who: usize) -> Option<Vec<pb::RetainedDatum>> {
        let mut wire = self.place.event(1).people[0].identifiers[0].clone();
        wire.value = self.people[who].name.clone();
        let name = pb::subject_name::Name::Identifier(wire);
        let request = pb::ExplainRetentionRequest {
            subject: Some(pb::SubjectName { name: Some(name) }),
            at_least: Some(self.running.app().log.head() - 1),
            ..Default::default()
        };
        let answer = client(&self.running).await.retention().explain_retention(request).await;
        answer.ok().map(|answer| answer.into_inner().data)
    }

    /// What the text says of a datum now, by the evaluation that somebody else wrote.
    pub fn evaluate(&self, who: usize, key: &Key) -> Value {
        let collects_another = |event: &Value| {
            let datum = event["datum"].as_object();
            event["type"] == "DataCollected"
                && key
                    .json()
                    .iter()
                    .any(|(name, value)| datum.and_then(|datum| datum.get(name)) != Some(value))
        };
        let of_person = self.people[who].events.iter().filter(|event| !collects_another(event));
        let of_house = self.house.iter().filter(|event| {
            event["type"] == "RetentionRuleAnnulled"
                || event["type"].as_str().unwrap().starts_with("LegalHold")
                || event["service"] == key.service
        });
        let mut events: Vec<Value> = of_person.chain(of_house).cloned().collect();
        events.sort_by_key(|event| event["at"].as_str().unwrap().to_owned());
        naive::evaluate(&json!({
            "name": "of the year",
            "rules": self.rules,
            "events": events,
            "now": self.place.clock.now().to_string(),
            "slot": key.slot,
        }))
    }
}
