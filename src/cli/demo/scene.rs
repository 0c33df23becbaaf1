//! Single things that happen in the app, as the app would report them: an activity of the
//! register, the people, a time, and the little that the register cannot know.

use serde_json::Value;
use uuid::Uuid;

use crate::cli::demo::person::{Persona, Region};
use crate::cli::json;
use crate::domain::time::{MS_PER_HOUR, Timestamp};
use crate::pb;
use crate::pb::event::Body;

/// An event without its time and id.
pub struct Scene {
    event: pb::Event,
}

impl Scene {
    pub fn event(mut self, at: Timestamp, id: Uuid) -> pb::Event {
        self.event.event_id = id.hyphenated().to_string();
        self.event.occurred_at = Some(wire_time(at));
        if let Some(window) = &mut self.event.window {
            window.to = Some(wire_time(at));
        }
        self.event
    }

    /// By the account, as everything is once somebody is logged in.
    fn by_account(who: &Persona, activity: &str, body: Body) -> Scene {
        Scene::of(who, activity, vec![data_subject(vec![account(who)])], body)
    }

    fn of(who: &Persona, activity: &str, people: Vec<pb::Person>, body: Body) -> Scene {
        Scene {
            event: pb::Event {
                controller: who.controller().to_string(),
                emitter: who.emitter().to_string(),
                service: who.service().to_string(),
                activity: if activity.is_empty() {
                    String::new()
                } else {
                    format!("{}.{activity}", who.service())
                },
                people,
                body: Some(body),
                ..Default::default()
            },
        }
    }

    /// The same with a body written down as in a file.
    pub fn json(who: &Persona, activity: &str, field: &str, body: Value) -> Scene {
        Scene::by_account(who, activity, written(field, body))
    }

    /// What a tester or the app itself saw on somebody's device.
    pub fn seen_on_device(who: &Persona, activity: &str, body: Value) -> Scene {
        let people = vec![data_subject(vec![account(who), device(who)])];
        Scene::of(who, activity, people, written("sdk_observed", body))
    }

    /// What the legal desk registers.
    pub fn desk(controller: &str, field: &str, body: Value) -> Scene {
        Scene {
            event: pb::Event {
                controller: controller.to_string(),
                emitter: "compliance-desk".to_string(),
                body: Some(written(field, body)),
                ..Default::default()
            },
        }
    }

    pub fn notice(who: &Persona) -> Scene {
        let body = Body::NoticeShown(pb::NoticeShown {
            locale: if who.region == Region::China { "zh-CN" } else { "en" }.to_string(),
            channel: pb::NoticeChannel::App.into(),
            layer: pb::NoticeLayer::Full.into(),
        });
        let mut scene = Scene::of(who, "", vec![data_subject(vec![device(who)])], body);
        scene.event.policy_version = "2025-03".to_string();
        scene
    }

    pub fn device_before_login(who: &Persona) -> Scene {
        Scene::of(
            who,
            "app_start",
            vec![data_subject(vec![device(who)])],
            Body::DataCollected(Default::default()),
        )
    }

    pub fn account_registered(who: &Persona) -> Scene {
        let body = Body::AccountRegistered(pb::AccountRegistered {
            account_kind: "app".to_string(),
            age_band: pb::AgeBand::Adult.into(),
            ..Default::default()
        });
        let identifiers = vec![account(who), phone(who), email(who)];
        Scene::of(who, "", vec![data_subject(identifiers)], body)
    }

    pub fn account_cancelled(who: &Persona) -> Scene {
        let body =
            Body::AccountCancelled(pb::AccountCancelled { channel: "app".to_string(), ..Default::default() });
        Scene::by_account(who, "", body)
    }

    pub fn registration_data(who: &Persona) -> Scene {
        let locator = format!("accounts/{}", who.account);
        Scene::by_account(
            who,
            "register",
            Body::DataCollected(pb::DataCollected { locator, ..Default::default() }),
        )
    }

    /// From the login on, what the device does is this person's doing.
    pub fn device_linked(who: &Persona, from: Timestamp, to: Option<Timestamp>) -> Scene {
        let body = Body::IdentifierLinked(pb::IdentifierLinked {
            kind: "imei".to_string(),
            source: pb::LinkSource::Login.into(),
            from: Some(wire_time(from)),
            to: to.map(wire_time),
            ..Default::default()
        });
        let people = vec![data_subject(vec![account(who)]), data_subject(vec![device(who)])];
        Scene::of(who, "", people, body)
    }

    pub fn permission(who: &Persona, permission: pb::Permission, granted: bool) -> Scene {
        let state = if granted { pb::PermissionState::Granted } else { pb::PermissionState::Denied };
        let body = Body::DevicePermissionChanged(pb::DevicePermissionChanged {
            permission: permission.into(),
            state: state.into(),
            purpose: "service_provision".to_string(),
        });
        Scene::by_account(who, "", body)
    }

    pub fn consent(who: &Persona, purpose: &str, given: bool) -> Scene {
        // Where somebody is may be sensitive in China, and is asked about by itself (PIPL 29).
        let separate = who.region == Region::China && purpose == "location_service";
        let kind = if separate { pb::ConsentKind::Separate } else { pb::ConsentKind::Explicit };
        let body = if given {
            Body::ConsentGiven(pb::ConsentGiven {
                purpose: purpose.to_string(),
                kind: kind.into(),
                method: pb::ConsentMethod::Dialog.into(),
                ip: "192.0.2.17".to_string(),
                ..Default::default()
            })
        } else {
            Body::ConsentRefused(pb::ConsentRefused {
                purpose: purpose.to_string(),
                kind: pb::ConsentKind::Explicit.into(),
                method: pb::ConsentMethod::Dialog.into(),
                ..Default::default()
            })
        };
        Scene::by_account(who, "", body).under_policy()
    }

    pub fn consent_to_wechat(who: &Persona) -> Scene {
        let body = Body::ConsentGiven(pb::ConsentGiven {
            purpose: "payment".to_string(),
            cats: WECHAT_TAKES.map(str::to_string).to_vec(),
            recipient: "tencent-wechat-pay".to_string(),
            kind: pb::ConsentKind::Separate.into(),
            method: pb::ConsentMethod::Dialog.into(),
            ..Default::default()
        });
        Scene::by_account(who, "", body).under_policy()
    }

    pub fn consent_withdrawn(who: &Persona, purpose: &str) -> Scene {
        let body = Body::ConsentWithdrawn(pb::ConsentWithdrawn {
            purpose: purpose.to_string(),
            method: pb::ConsentMethod::Dialog.into(),
            ..Default::default()
        });
        Scene::by_account(who, "", body).under_policy()
    }

    pub fn position(who: &Persona) -> Scene {
        Scene::by_account(who, "locate", Body::DataCollected(Default::default()))
    }

    pub fn serial_scanned(who: &Persona) -> Scene {
        let people = vec![data_subject(vec![account(who), serial(who)])];
        Scene::of(who, "add_device", people, Body::DataCollected(Default::default()))
    }

    pub fn station_photo(who: &Persona) -> Scene {
        let body = pb::DataCollected {
            slot: format!("station-{}", who.number),
            locator: format!("photos/{}/station.jpg", who.account),
            ..Default::default()
        };
        Scene::by_account(who, "station_photo", Body::DataCollected(body))
    }

    /// One event for a day of readings.
    pub fn day_of_telemetry(who: &Persona) -> Scene {
        let mut scene = Scene::by_account(who, "telemetry", Body::DataCollected(Default::default()));
        scene.event.count = Some(288);
        scene
    }

    pub fn used(who: &Persona, purpose: &str, operation: &str) -> Scene {
        let body = pb::DataUsed {
            purpose: purpose.to_string(),
            operation: operation.to_string(),
            ..Default::default()
        };
        Scene::by_account(who, "use", Body::DataUsed(body))
    }

    pub fn message(who: &Persona) -> Scene {
        let body = Body::MessageSent(pb::MessageSent {
            channel: pb::MessageChannel::Push.into(),
            nature: pb::MessageNature::Service.into(),
            template: "monthly-yield".to_string(),
            ..Default::default()
        });
        Scene::by_account(who, "message", body)
    }

    pub fn wechat_observed(who: &Persona) -> Scene {
        let extra = (who.number % 10 == 7).then_some("x:clipboard");
        let body = Body::SdkObserved(pb::SdkObserved {
            recipient_id: "tencent-wechat-pay".to_string(),
            sdk_name: "wechat-pay".to_string(),
            sdk_version: if extra.is_some() { "8.0.34" } else { "8.0.33" }.to_string(),
            app_version: "5.2.0".to_string(),
            cats: WECHAT_TAKES.into_iter().chain(extra).map(str::to_string).collect(),
            before_consent: Some(false),
            foreground: Some(true),
        });
        let people = vec![data_subject(vec![account(who), device(who)])];
        Scene::of(who, "pay", people, body)
    }

    pub fn order_placed(who: &Persona, day: i64) -> Scene {
        let body = pb::DataCollected { slot: order(who, day), ..Default::default() };
        Scene::by_account(who, "order", Body::DataCollected(body))
    }

    pub fn shared_with_wechat(who: &Persona, day: i64) -> Scene {
        let body = pb::DataShared {
            recipient_id: "tencent-wechat-pay".to_string(),
            cats: WECHAT_TAKES.map(str::to_string).to_vec(),
            method: pb::ShareMethod::Sdk.into(),
            sdk_version: "8.0.33".to_string(),
            app_version: "5.2.0".to_string(),
            safeguards: vec![pb::Safeguard::Encryption.into()],
            slot: order(who, day),
            ..Default::default()
        };
        Scene::by_account(who, "pay", Body::DataShared(body))
    }

    pub fn paid(who: &Persona, day: i64) -> Scene {
        let body = pb::TransactionCompleted {
            record_kind: "transaction".to_string(),
            slot: order(who, day),
            transaction_ref: format!("wx/{}/{day}", who.account),
        };
        Scene::by_account(who, "pay", Body::TransactionCompleted(body))
    }

    /// A colleague of the Chinese company, somewhere, looks at a European customer's station.
    pub fn looked_at_from(country: &str, who: &Persona) -> Scene {
        let body = Body::StaffAccessed(pb::StaffAccessed {
            role: "support".to_string(),
            reason: "fault_report".to_string(),
            from_country: country.to_string(),
            ticket: format!("T-{}", 1_000 + who.number),
        });
        let engineer = pb::Person {
            role: pb::Role::Staff.into(),
            identifiers: vec![identifier(pb::IdentifierKind::Account, "staff", "w.li")],
        };
        let mut scene = Scene::of(who, "support", vec![data_subject(vec![account(who)]), engineer], body);
        scene.event.controller = "kstar-cn".to_string();
        scene.event.emitter = "support-desk".to_string();
        scene
    }

    pub fn transferred_to_china(who: &Persona) -> Scene {
        let body = pb::DataTransferred {
            exporter: "kstar-eu".to_string(),
            recipient_id: "kstar-cn-support".to_string(),
            from_country: "DE".to_string(),
            to_country: "CN".to_string(),
            mode: pb::TransferMode::RemoteAccess.into(),
            ..Default::default()
        };
        Scene::by_account(who, "support", Body::DataTransferred(body))
    }

    /// Service knows the caller by the telephone number alone.
    pub fn called_back(who: &Persona) -> Scene {
        let body = pb::DataUsed {
            purpose: "support".to_string(),
            operation: "x:call".to_string(),
            ..Default::default()
        };
        Scene::of(who, "use", vec![data_subject(vec![phone(who)])], Body::DataUsed(body))
    }

    /// The readings of a park: about nobody.
    pub fn park(from: Timestamp, number: u64) -> Scene {
        let readings = 12 * 240;
        Scene {
            event: pb::Event {
                controller: "kstar-cn".to_string(),
                emitter: "park-gateway".to_string(),
                service: "solar-cn".to_string(),
                activity: "solar-cn.park".to_string(),
                window: Some(pb::Window {
                    from: Some(wire_time(from)),
                    to: Some(wire_time(from.plus_ms(MS_PER_HOUR))),
                }),
                count: Some(readings),
                emitter_seq: Some(number),
                body: Some(Body::DataCollected(Default::default())),
                ..Default::default()
            },
        }
    }

    pub fn under_policy(mut self) -> Scene {
        self.event.policy_version = "2025-03".to_string();
        self
    }

    pub fn under_law_of(mut self, regime: &str) -> Scene {
        self.event.regimes = vec![regime.to_string()];
        self
    }
}

/// Section 9.1 of the policy: device identifiers (IMEI, Android ID, serial), MAC address, WLAN
/// access point, installed apps.
pub const WECHAT_TAKES: [&str; 6] =
    ["x:imei", "x:android_id", "x:device_serial", "pd:MACAddress", "x:wlan_ap", "x:installed_apps"];

/// A body as a file would say it: names of enums without their prefix, nothing for what is not stated.
fn written(field: &str, mut body: Value) -> Body {
    if let Value::Object(fields) = &mut body {
        fields.retain(|_, value| !value.is_null());
    }
    let mut event = serde_json::json!({ field: body });
    json::spell_out("Event", &mut event);
    let read: Result<pb::Event, String> = json::parse("Event", &event.to_string());
    // The scenes are part of the program, and a test tells all of them.
    read.ok().and_then(|event| event.body).unwrap_or_else(|| panic!("a scene of {field} is not of the API"))
}

fn order(who: &Persona, day: i64) -> String {
    format!("order-{}-{day}", who.number)
}

fn data_subject(identifiers: Vec<pb::Identifier>) -> pb::Person {
    pb::Person { role: pb::Role::DataSubject.into(), identifiers }
}

fn identifier(kind: pb::IdentifierKind, realm: &str, value: &str) -> pb::Identifier {
    pb::Identifier { kind: kind.into(), realm: realm.to_string(), value: value.to_string() }
}

fn account(who: &Persona) -> pb::Identifier {
    identifier(pb::IdentifierKind::Account, "solar", &who.account)
}

fn phone(who: &Persona) -> pb::Identifier {
    identifier(pb::IdentifierKind::Phone, "", &who.phone)
}

fn email(who: &Persona) -> pb::Identifier {
    identifier(pb::IdentifierKind::Email, "", &who.email)
}

fn device(who: &Persona) -> pb::Identifier {
    identifier(pb::IdentifierKind::Imei, "", &who.imei)
}

fn serial(who: &Persona) -> pb::Identifier {
    identifier(pb::IdentifierKind::DeviceSerial, "kstar", &who.serial)
}

fn wire_time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.ms().div_euclid(1_000),
        nanos: (at.ms().rem_euclid(1_000) * 1_000_000) as i32,
    }
}
