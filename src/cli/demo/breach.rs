//! What goes wrong in the month: little scenes, each of something that does go wrong around such an app, and each
//! against a clause of the policy. What they amount to is not said here: the findings say it.

use serde_json::json;

use crate::cli::demo::person::Persona;
use crate::cli::demo::scene::{Scene, WECHAT_TAKES};
use crate::cli::demo::story::{Told, month_begins};
use crate::domain::time::{MS_PER_DAY, MS_PER_HOUR, MS_PER_MINUTE, Timestamp};

/// Hours into a day of the month.
fn on(day: i64, hour: i64) -> Timestamp {
    month_begins().plus_ms(day * MS_PER_DAY + hour * MS_PER_HOUR)
}

/// Somebody in Europe and somebody in China, to whom all of it happens, and three whom it finds at the start.
struct Cast {
    anna: Persona,
    bo: Persona,
    /// A child with an account.
    lili: Persona,
    /// Somebody who was never asked about the payment SDK.
    chen: Persona,
    /// Somebody who was never shown the policy.
    dora: Persona,
}

impl Told {
    /// Everything that goes wrong, told of people who come behind those of the story.
    pub fn breaches(&mut self, people: u64) {
        let cast = {
            let mut somebody = |n: u64| Persona::new(people + n, self.dice());
            Cast {
                anna: somebody(2).in_europe(),
                bo: somebody(3).in_china(),
                lili: somebody(4).in_china(),
                chen: somebody(5).in_china(),
                dora: somebody(6).in_europe(),
            }
        };
        self.desk();
        for (who, minute) in [(&cast.anna, 0), (&cast.bo, 10), (&cast.chen, 20)] {
            self.joins(who, on(0, 1).plus_ms(minute * MS_PER_MINUTE));
        }
        self.collections(&cast);
        self.consents_of(&cast);
        self.sdks(&cast);
        self.shares(&cast);
        self.flows(&cast);
        self.authorities(&cast);
    }

    /// As it should be: told, registered, asked about the payment SDK by those who are.
    fn joins(&mut self, who: &Persona, at: Timestamp) {
        self.tell(at, Scene::notice(who));
        self.tell(at.plus_ms(MS_PER_MINUTE), Scene::account_registered(who));
        self.tell(at.plus_ms(MS_PER_MINUTE + 100), Scene::device_linked(who, at, None));
        self.tell(at.plus_ms(MS_PER_MINUTE + 200), Scene::registration_data(who));
        self.tell(at.plus_ms(2 * MS_PER_MINUTE), Scene::consent(who, "improvement", true));
    }

    /// What the legal desk registered at the beginning of the month, and later.
    fn desk(&mut self) {
        let lab = json!({ "recipient_id": "fault-lab", "legal_name": "Fault Analysis Hanoi (demo)",
            "role": "processor", "country": "VN", "contract_kind": "gdpr28", "contract_ref": "lab-3",
            "contract_from": { "date": "2025-10-11", "tz": "Europe/Berlin" },
            "cats": ["pd:ServiceConsumptionBehaviour"], "purposes": ["improvement"] });
        let calls = json!({ "recipient_id": "call-centre", "legal_name": "Sunny Calls Pune (demo)",
            "role": "processor", "country": "IN", "contract_kind": "gdpr28", "contract_ref": "calls-1",
            "contract_from": { "date": "2026-06-01", "tz": "Europe/Berlin" },
            "cats": ["pd:Username", "pd:TelephoneNumber"], "purposes": ["support"] });
        let installer = json!({ "recipient_id": "installer-nord", "legal_name": "Solarbau Nord (demo)",
            "role": "processor", "country": "DE", "contract_kind": "gdpr28", "contract_ref": "installer-17",
            "contract_from": { "date": "2025-10-16", "tz": "Europe/Berlin" },
            "contract_to": { "date": "2026-10-15", "tz": "Europe/Berlin" },
            "cats": ["pd:Username", "pd:TelephoneNumber", "pd:PhysicalAddress"], "purposes": ["service_provision"] });
        let mailer = json!({ "recipient_id": "mailer", "legal_name": "Bulk Mailer Inc. (demo)", "role": "processor",
            "country": "US", "contract_kind": "gdpr28", "contract_ref": "mail-2",
            "contract_from": { "date": "2026-01-01", "tz": "Europe/Berlin" },
            "cats": ["pd:EmailAddress"], "purposes": ["direct_marketing"] });
        let cloud = json!({ "recipient_id": "cloud-sg", "legal_name": "Cloud Singapore (demo)", "role": "processor",
            "country": "SG", "contract_kind": "pipl21", "contract_ref": "cloud-5",
            "contract_from": { "date": "2026-10-08", "tz": "Asia/Shanghai" },
            "cats": ["pd:ServiceConsumptionBehaviour"], "purposes": ["improvement"] });
        for (n, body) in [lab, calls, installer, mailer, cloud].into_iter().enumerate() {
            self.tell(on(0, 0).plus_ms(n as i64), Scene::desk("kstar-eu", "recipient_registered", body));
        }
        let clauses = |id: &str,
                       importer: &str,
                       country: &str,
                       purpose: &str,
                       cats: &[&str],
                       days: [&str; 2]| {
            json!({ "mechanism_id": id, "regime": "eu", "kind": "A46-2-c", "module": 2, "exporter": "kstar-eu",
                "importer": importer, "importer_country": country, "cats": cats, "purposes": [purpose],
                "signed_at": format!("{}T09:00:00Z", days[0]),
                "effective_at": { "date": days[0], "tz": "Europe/Berlin" },
                "expires_at": { "date": days[1], "tz": "Europe/Berlin" } })
        };
        let usage = ["pd:ServiceConsumptionBehaviour"];
        let lab = clauses("scc-lab", "fault-lab", "VN", "improvement", &usage, ["2025-10-11", "2026-10-10"]);
        let called = ["pd:Username", "pd:TelephoneNumber"];
        let calls =
            clauses("scc-calls", "call-centre", "IN", "support", &called, ["2026-06-01", "2026-11-20"]);
        // Within ten working days it has to be filed, and nobody does.
        let contract = json!({ "mechanism_id": "cn-contract-cloud", "regime": "cn", "kind": "cn_standard_contract",
            "exporter": "kstar-cn", "importer": "cloud-sg", "importer_country": "SG", "cats": usage,
            "purposes": ["improvement"], "signed_at": "2026-10-07T02:00:00Z",
            "effective_at": { "date": "2026-10-08", "tz": "Asia/Shanghai" } });
        for (n, body) in [lab, calls].into_iter().enumerate() {
            let scene = Scene::desk("kstar-eu", "transfer_mechanism_registered", body);
            self.tell(on(0, 0).plus_ms(100 + n as i64), scene);
        }
        self.tell(on(7, 3), Scene::desk("kstar-cn", "transfer_mechanism_registered", contract));
        // Of the call centre's country nobody has looked at the law.
        for (n, of) in ["scc-support", "scc-lab"].into_iter().enumerate() {
            let body = json!({ "kind": "tia", "subject_matter": of, "result": "ok_with_measures" });
            self.tell(on(0, 0).plus_ms(200 + n as i64), Scene::desk("kstar-eu", "transfer_assessed", body));
        }
        // Following somebody's van is another thing than where a station stands, and was not assessed.
        let track = json!({ "activity": "solar-cn.track", "service": "solar-cn",
            "purposes": [{ "id": "location_service", "basis": "consent" }], "cats": ["pd:GPSCoordinate"],
            "record_kind": "location", "source": "device", "regimes": ["CN"], "sensitive": true,
            "safeguards": ["encryption"] });
        self.tell(on(1, 2), Scene::desk("kstar-cn", "activity_registered", track));
        let promotion = json!({ "policy_id": "solar-cn-promotion", "version": "2026-11", "service": "solar-cn",
            "locales": [{ "locale": "zh", "sha256": "Yjnq4inPkjfZ0qC8Fxpr8rh3y9VquCi1N7AckA4kK4g=" }],
            "declared": [{ "purpose": "direct_marketing", "cats": ["pd:TelephoneNumber"] }],
            "effective_at": "2026-11-01T00:00:00Z", "change_kind": "material" });
        self.tell(on(25, 4), Scene::desk("kstar-cn", "policy_published", promotion));
    }

    fn collections(&mut self, cast: &Cast) {
        let (anna, bo) = (&cast.anna, &cast.bo);
        let collected = |who: &Persona, activity, body| Scene::json(who, activity, "data_collected", body);
        // The camera was for a serial number. The picture was kept, too.
        let photo = json!({ "cats": ["x:device_serial", "pd:Picture"], "locator": "scans/1.jpg" });
        self.tell(on(2, 9), collected(bo, "add_device", photo));
        // A copy of the accounts for a test system, in clear.
        self.tell(on(3, 9), collected(anna, "register", json!({ "encrypted_at_rest": false })));
        // A form taken over from Europe, with a basis that the law of China does not know.
        let interest = json!({ "purposes": [{ "id": "security", "basis": "legitimate_interest" }] });
        self.tell(on(3, 10), collected(bo, "app_start", interest));
        // New firmware sends what nobody has a word for.
        let roof = json!({ "cats": ["pd:ServiceConsumptionBehaviour", "x:roof_angle"] });
        self.tell(on(4, 10), collected(bo, "telemetry", roof));
        self.tell(on(5, 9).plus_ms(-MS_PER_MINUTE), Scene::consent(bo, "location_service", true));
        self.tell(on(5, 9), collected(bo, "track", json!({})));
        // Analyses, with the account beside them; and a score that decides about the guarantee.
        let usage = json!({ "purpose": "analytics", "operation": "x:usage_report", "pseudonymous": false });
        self.tell(on(6, 9), Scene::json(anna, "analytics", "data_used", usage));
        let score = json!({ "logic_ref": "guarantee-score-2", "effect": "legal", "human_review": false,
            "opt_out_offered": false, "outcome": "no replacement" });
        self.tell(on(6, 10), Scene::json(anna, "use", "automated_decision_made", score));
        // The app asks where somebody is before it asks whether it may.
        self.tell(on(7, 9), Scene::position(anna));
        // A cache of readings from China, in Singapore.
        let abroad = json!({ "collection_country": "CN", "storage_country": "SG" });
        self.tell(on(8, 9), collected(bo, "telemetry", abroad));
        // Registered through a partner's page, on which the policy is not shown.
        self.tell(on(9, 8), Scene::account_registered(&cast.dora));
        self.tell(on(9, 8).plus_ms(200), Scene::registration_data(&cast.dora));
    }

    fn consents_of(&mut self, cast: &Cast) {
        let (anna, bo, lili) = (&cast.anna, &cast.bo, &cast.lili);
        // No camera, then no devices: although the number can be typed.
        self.tell(on(10, 2), Scene::permission(bo, crate::pb::Permission::Camera, false));
        let refused = json!({ "feature": "add_device", "cause": "camera" });
        self.tell(on(10, 3), Scene::json(bo, "", "service_refused", refused));
        // One button for three purposes.
        for (n, purpose) in ["improvement", "direct_marketing", "cross_service"].into_iter().enumerate() {
            let all = json!({ "purpose": purpose, "kind": "explicit", "method": "tick",
                "evidence_sha256": "Yjnq4inPkjfZ0qC8Fxpr8rh3y9VquCi1N7AckA4kK4g=" });
            let scene = Scene::json(anna, "", "consent_given", all).under_policy();
            self.tell(on(10, 8).plus_ms(n as i64), scene);
        }
        // No more advertisements, she says, and gets one.
        self.tell(on(11, 8), Scene::consent_withdrawn(anna, "direct_marketing"));
        let promoted = json!({ "channel": "email", "nature": "marketing", "template": "autumn-offer" });
        self.tell(on(13, 8), Scene::json(anna, "marketing", "message_sent", promoted));
        // Twelve years old, and nobody asked the parents.
        self.tell(on(12, 2), Scene::notice(lili));
        let child = json!({ "account_kind": "app", "age_band": "lt13" });
        self.tell(on(12, 3), Scene::json(lili, "", "account_registered", child));
        let agreed =
            json!({ "purpose": "improvement", "kind": "explicit", "method": "tick", "age_band": "lt13" });
        self.tell(
            on(12, 4),
            Scene::json(lili, "", "consent_given", agreed).under_policy().under_law_of("CN"),
        );
    }

    fn sdks(&mut self, cast: &Cast) {
        let (bo, chen) = (&cast.bo, &cast.chen);
        // A library for messages that came with an advertiser's, and reads before anybody was asked.
        let push = |early: bool| {
            json!({ "sdk_name": "fast-push", "sdk_version": "3.1.0", "app_version": "5.2.0", "foreground": true,
                "cats": ["x:oaid", "x:installed_apps"], "before_consent": early })
        };
        self.tell(on(4, 1), Scene::seen_on_device(bo, "app_start", push(true)));
        self.tell(on(4, 2), Scene::seen_on_device(bo, "app_start", push(false)));
        // The new version of the payment SDK reads the clipboard.
        for (at, version, more) in [(on(5, 1), "8.0.33", None), (on(14, 1), "8.0.34", Some("x:clipboard"))] {
            let cats: Vec<&str> = WECHAT_TAKES.into_iter().chain(more).collect();
            let seen = json!({ "recipient_id": "tencent-wechat-pay", "sdk_name": "wechat-pay", "sdk_version": version,
                "app_version": "5.2.0", "cats": cats, "before_consent": false, "foreground": true });
            self.tell(at, Scene::seen_on_device(bo, "pay", seen));
        }
        self.tell(on(5, 1).plus_ms(-MS_PER_MINUTE), Scene::consent_to_wechat(bo));
        self.tell(on(5, 1).plus_ms(-1_000), Scene::order_placed(bo, 5));
        // Paid without having been asked about the SDK by itself.
        self.tell(on(15, 4), Scene::order_placed(chen, 15));
        self.tell(on(15, 4).plus_ms(300), Scene::shared_with_wechat(chen, 15));
        self.tell(on(15, 4).plus_ms(5_000), Scene::paid(chen, 15));
    }

    fn shares(&mut self, cast: &Cast) {
        let anna = &cast.anna;
        let installer = |purpose: &str, safeguards: &[&str]| {
            json!({ "recipient_id": "installer-nord", "cats": ["pd:Username", "pd:PhysicalAddress"],
                "purpose": purpose, "method": "file", "safeguards": safeguards })
        };
        let encrypted = ["encryption"];
        for (at, purpose, safeguards) in [
            (on(4, 12), "service_provision", &encrypted[..]),
            // For a leaflet, which is not what the contract is for.
            (on(8, 12), "direct_marketing", &encrypted[..]),
            // A table by e-mail.
            (on(9, 12), "service_provision", &[]),
            // The contract ran out on the fifteenth.
            (on(20, 12), "service_provision", &encrypted[..]),
        ] {
            self.tell(at, Scene::json(anna, "", "data_shared", installer(purpose, safeguards)));
        }
    }

    fn flows(&mut self, cast: &Cast) {
        let (anna, bo) = (&cast.anna, &cast.bo);
        let flow = |importer: &str, to: &str, purpose: &str, cats: &[&str]| {
            json!({ "exporter": "kstar-eu", "recipient_id": importer, "from_country": "DE", "to_country": to,
                "mode": "transmission", "purpose": purpose, "cats": cats })
        };
        let readings = ["pd:ServiceConsumptionBehaviour"];
        for (at, body) in [
            (on(5, 13), flow("fault-lab", "VN", "improvement", &readings)),
            // Five days after the clauses have ended.
            (on(15, 13), flow("fault-lab", "VN", "improvement", &readings)),
            (on(7, 13), flow("call-centre", "IN", "support", &["pd:Username", "pd:TelephoneNumber"])),
            // The night shift of the support sits in Vietnam; the clauses say China.
            (on(11, 22), flow("kstar-cn-support", "VN", "support", &["pd:Username"])),
            (on(13, 13), flow("mailer", "US", "direct_marketing", &["pd:EmailAddress"])),
        ] {
            self.tell(at, Scene::json(anna, "", "data_transferred", body));
        }
        // The night shift looks at her station, and nobody writes down that this is a transfer.
        self.tell(on(16, 22), Scene::looked_at_from("VN", anna));
        let abroad = json!({ "exporter": "kstar-cn", "recipient_id": "cloud-sg", "from_country": "CN",
            "to_country": "SG", "mode": "transmission", "purpose": "support", "cats": ["pd:Username"] });
        self.tell(on(17, 3), Scene::json(bo, "", "data_transferred", abroad));
    }

    fn authorities(&mut self, cast: &Cast) {
        let decided = |authority: &str, country: &str, legal: Option<&str>| {
            json!({ "authority": authority, "country": country, "legal_ref": legal, "decision": "complied",
                "scope": ["pd:Username", "pd:TelephoneNumber"], "subject_told": false })
        };
        let demand = decided("us-district-court", "US", Some("28 USC 1782"));
        let scene = Scene::json(&cast.bo, "", "authority_disclosure_decided", demand);
        self.tell(on(18, 3), scene.under_law_of("CN"));
        // By telephone, for a case that nobody named.
        let called = decided("police-shenzhen", "CN", None);
        let scene = Scene::json(&cast.bo, "", "authority_disclosure_decided", called);
        self.tell(on(19, 3), scene.under_law_of("CN"));
    }
}
