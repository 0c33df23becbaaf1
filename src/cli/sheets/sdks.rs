//! The register of SDKs and the lists of an app as tables, in the columns of Chinese apps' own lists
//! (第三方信息共享清单, 已收集个人信息清单).

use crate::cli::sheets::{COMPUTED_AT, at, flag, instant, integer, labels, list, term, text, texts, words};
use crate::pb;
use crate::sheet::{Cell, Column, Language, Sheet};

const SDKS: [Column; 25] = [
    text("sdk_name", "SDK", "SDK 名称"),
    text("company", "Company", "第三方名称"),
    text("package", "Package", "包名"),
    text("sdk_version", "SDK version", "SDK 版本"),
    text("app_version", "App version", "App 版本"),
    flag("declared", "SDK declared", "SDK 已声明"),
    flag("version_declared", "Version declared", "版本已声明"),
    list("purposes", "Purposes", "使用目的"),
    list("categories", "Declared categories", "声明收集的个人信息种类"),
    list("read", "Read, as observed", "实际读取的种类"),
    list("given", "Given, as recorded", "实际提供的种类"),
    list("undeclared", "Used but undeclared", "已使用未声明"),
    list("unused", "Declared but unused", "已声明未使用"),
    list("added", "New since the last version", "较上一版本新增"),
    list("removed", "No more since the last version", "较上一版本减少"),
    integer("before_consent", "Reads before consent", "同意前读取次数"),
    integer("in_background", "Reads in the background", "后台读取次数"),
    text("country", "Country", "所在国家"),
    text("contract", "Contract", "合同依据"),
    text("privacy_url", "Privacy policy", "隐私政策链接"),
    list("services", "Services", "使用服务"),
    integer("count", "Times", "次数"),
    instant("first", "First", "首次"),
    instant("last", "Last", "最近"),
    COMPUTED_AT,
];

pub const SDKS_SHOWN: [&str; 10] = [
    "sdk_name",
    "company",
    "sdk_version",
    "app_version",
    "declared",
    "undeclared",
    "unused",
    "added",
    "before_consent",
    "last",
];

/// One row for each version of an SDK in each version of an app; one for an SDK that was never seen.
pub fn sdks(sdks: &[pb::Sdk], from: &pb::ProcessingBasis, language: Language) -> Sheet {
    let mut sheet = Sheet::new(("SDK register", "SDK 登记表"), &SDKS);
    for sdk in sdks {
        let never = [pb::SdkUse::default()];
        let uses = if sdk.uses.is_empty() { &never[..] } else { &sdk.uses };
        sheet.rows.extend(uses.iter().map(|one| sdk_row(sdk, one, from, language)));
    }
    sheet
}

fn sdk_row(sdk: &pb::Sdk, one: &pb::SdkUse, from: &pb::ProcessingBasis, language: Language) -> Vec<Cell> {
    let body = sdk.registered.clone().unwrap_or_default();
    vec![
        Cell::text(&sdk.sdk_name),
        Cell::text(&body.legal_name),
        Cell::text(body.sdk.as_ref().map(|sdk| sdk.package.clone()).unwrap_or_default()),
        Cell::text(&one.sdk_version),
        Cell::text(&one.app_version),
        Cell::Flag(!sdk.recipient.is_empty()),
        one.version_declared.map_or(Cell::Empty, Cell::Flag),
        labels(&sdk.purposes, language),
        labels(&sdk.categories, language),
        labels(&one.read, language),
        labels(&one.given, language),
        labels(&one.undeclared, language),
        labels(&sdk.unused, language),
        labels(&one.added, language),
        labels(&one.removed, language),
        Cell::Integer(one.before_consent),
        Cell::Integer(one.in_background),
        Cell::text(&body.country),
        Cell::text(words::contract(body.contract_kind())),
        Cell::text(&body.privacy_url),
        texts(&one.services),
        Cell::Integer(one.count),
        at(one.first.as_ref()),
        at(one.last.as_ref()),
        Cell::Integer(from.computed_at),
    ]
}

const COLLECTED: [Column; 10] = [
    text("category", "Personal information", "个人信息种类"),
    text("purpose", "Purpose", "使用目的"),
    text("activity", "Scene", "使用场景"),
    text("sdk_name", "Collected by SDK", "收集方 SDK"),
    flag("sensitive", "Sensitive", "是否敏感"),
    flag("required", "Necessary", "是否必要"),
    list("sources", "Way of collection", "收集方式"),
    flag("registered", "In the register", "已登记"),
    flag("observed", "Observed", "已发生"),
    COMPUTED_AT,
];

pub const COLLECTED_SHOWN: [&str; 8] =
    ["category", "purpose", "activity", "sdk_name", "sensitive", "required", "registered", "observed"];

/// 已收集个人信息清单, as far as it needs nobody in particular.
pub fn collected(
    lines: &[pb::CollectedInformation],
    from: &pb::ProcessingBasis,
    language: Language,
) -> Sheet {
    let mut sheet = Sheet::new(("Collected personal information", "已收集个人信息清单"), &COLLECTED);
    for one in lines {
        let sources = one.sources().map(|source| words::said(words::source(source), language));
        sheet.rows.push(vec![
            term(one.category.as_ref(), language),
            term(one.purpose.as_ref(), language),
            Cell::text(&one.activity),
            Cell::text(&one.sdk_name),
            Cell::Flag(one.sensitive),
            Cell::Flag(one.required),
            Cell::list(sources),
            Cell::Flag(one.registered),
            Cell::Flag(one.observed),
            Cell::Integer(from.computed_at),
        ]);
    }
    sheet
}

const SHARED: [Column; 14] = [
    text("company", "Third party", "第三方名称"),
    text("sdk_name", "SDK", "SDK 名称"),
    list("categories", "Personal information", "共享个人信息种类"),
    list("purposes", "Purpose", "使用目的"),
    list("activities", "Scene", "使用场景"),
    list("methods", "Way of sharing", "共享方式"),
    list("sdk_versions", "SDK versions", "SDK 版本"),
    list("app_versions", "App versions", "App 版本"),
    text("privacy_url", "Contact and privacy policy", "联系方式及隐私政策链接"),
    text("role", "Capacity", "接收方身份"),
    text("country", "Country", "所在国家"),
    flag("registered", "In the register", "已登记"),
    flag("observed", "Observed", "已发生"),
    COMPUTED_AT,
];

pub const SHARED_SHOWN: [&str; 9] = [
    "company",
    "sdk_name",
    "categories",
    "purposes",
    "activities",
    "methods",
    "privacy_url",
    "registered",
    "observed",
];

/// 与第三方共享个人信息清单.
pub fn shared(lines: &[pb::SharedInformation], from: &pb::ProcessingBasis, language: Language) -> Sheet {
    let mut sheet = Sheet::new(("Shared with third parties", "与第三方共享个人信息清单"), &SHARED);
    for one in lines {
        let body = one.registered.clone().unwrap_or_default();
        let company = if one.registered.is_some() { &body.legal_name } else { &one.recipient };
        let methods = one.methods().map(|method| words::said(words::method(method), language));
        sheet.rows.push(vec![
            Cell::text(company),
            Cell::text(body.sdk.as_ref().map(|sdk| sdk.name.clone()).unwrap_or_default()),
            labels(&one.categories, language),
            labels(&one.purposes, language),
            texts(&one.activities),
            Cell::list(methods),
            texts(&one.sdk_versions),
            texts(&one.app_versions),
            Cell::text(&body.privacy_url),
            Cell::text(words::role(body.role(), language)),
            Cell::text(&body.country),
            Cell::Flag(one.registered.is_some()),
            Cell::Flag(one.observed),
            Cell::Integer(from.computed_at),
        ]);
    }
    sheet
}
