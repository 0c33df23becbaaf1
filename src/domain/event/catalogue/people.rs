//! Accounts, identifiers and notices: how a person comes in, is recognised and is told.

use crate::domain::event::catalogue::bodies;
use crate::domain::event::*;
use crate::domain::id::*;
use crate::domain::time::Timestamp;
use crate::limits;

macro_rules! people {
    ($then:ident) => {
        $then! {
            /// A person opened an account. The handle is an identifier and goes to the vault. PIPL 47; E-Commerce
            /// Law 24.
            AccountRegistered {
                header {
                    /// Kind of account, in the emitter's words.
                    account_kind: Option<Id>,
                    /// Services whose contracts hang on the account; those registered for the emitter if empty.
                    services: List<Id, { limits::LIST }>,
                }
                index {
                    age_band: Option<AgeBand>,
                }
            }
            /// A person closed the account; it cannot be undone. PIPL 47.
            AccountCancelled {
                header {
                    /// Where it was asked for, such as `app` or `email`.
                    channel: Option<Id>,
                    /// Services whose contracts end with it; those registered for the emitter if empty.
                    services: List<Id, { limits::LIST }>,
                }
            }
            /// Two data subjects are named, each by identifiers of their own: from now on, or for the time
            /// stated, they are one person's. GDPR 5(1)(d), 11.
            IdentifierLinked {
                header {
                    /// Kind of the identifier that is linked, such as `device_serial`.
                    kind: Option<Id>,
                    /// Account system, app or maker within which the linked identifier is unique.
                    realm: Option<Id>,
                    source: Option<LinkSource> = required,
                    reason: Option<Id>,
                }
                index {
                    /// Start of the link, such as the login; `occurred_at` if not stated.
                    from: Option<Timestamp>,
                    /// End of the link, such as the logout; open if not stated.
                    to: Option<Timestamp>,
                }
            }
            /// A link or binding was wrong or has ended. GDPR 5(1)(d), 11.
            IdentifierUnlinked {
                header {
                    /// Kind of the identifier that is unlinked.
                    kind: Option<Id>,
                    /// Account system, app or maker within which it is unique.
                    realm: Option<Id>,
                    source: Option<LinkSource> = required,
                    reason: Option<Id>,
                }
                index {
                    /// Start of the time for which the link never held; the link's own start if not stated.
                    from: Option<Timestamp>,
                    /// End of the link; `occurred_at` if not stated.
                    to: Option<Timestamp>,
                }
            }
            /// An officer found that two people are one. Both are named as data subjects, the approver as staff.
            /// GDPR 5(1)(d), 11.
            SubjectsMerged {
                header {
                    reason: Option<Id> = required,
                }
            }
            /// An officer undid a merge: every event returns to the side its identifiers named. GDPR 5(1)(d), 11.
            SubjectsSplit {
                header {
                    reason: Option<Id> = required,
                }
            }
            /// A privacy notice was shown. GDPR 13, 14; PIPL 17, 30, 39.
            NoticeShown {
                header {
                    /// Language of the text shown, such as `zh-CN`.
                    locale: Option<Id>,
                    channel: Option<NoticeChannel>,
                    layer: Option<NoticeLayer>,
                }
            }
        }
    };
}
pub(crate) use people;

people!(bodies);
