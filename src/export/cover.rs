//! The cover sheet, for people. Nothing is proven by it but that it is the sheet of this bundle.

use super::{Error, Request};
use crate::verify::manifest::is_text;

/// What stands on it. Each is one line; `None` is printed as a dash.
#[derive(Debug, Clone, Default)]
pub struct Cover {
    pub authority: Option<String>,
    /// By which law the authority may ask.
    pub legal_power: Option<String>,
    pub controller: Option<String>,
    pub representative: Option<String>,
    /// Data protection officer, or the person in charge of personal information protection.
    pub responsible: Option<String>,
    /// The time that the events are about.
    pub period: Option<String>,
}

impl Cover {
    fn lines(&self) -> [(&'static str, &'static str, &Option<String>); 6] {
        [
            ("Authority", "主管机关", &self.authority),
            ("Legal power", "法律依据", &self.legal_power),
            ("Controller", "个人信息处理者", &self.controller),
            ("Representative", "代表", &self.representative),
            ("Responsible person", "个人信息保护负责人", &self.responsible),
            ("Period", "期间", &self.period),
        ]
    }

    /// Every value is one line without control characters.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (name, _, value) in self.lines() {
            if value.as_deref().is_some_and(|value| !is_text(value) || value == "-") {
                return Err(Error::Refused(format!("the cover's {name} is not one line of text")));
            }
        }
        Ok(())
    }

    pub(super) fn text(&self, origin: &str, request: &Request) -> String {
        let mut english = String::from("EXPORT OF CUSTODY RECORDS\n\n");
        let mut chinese = String::from("个人信息处理记录导出\n\n");
        for (en, zh, value) in self.lines() {
            let value = value.as_deref().unwrap_or("-");
            english.push_str(&format!("{en}: {value}\n"));
            chinese.push_str(&format!("{zh}：{value}\n"));
        }
        let Request { export, from, to, level, created, .. } = request;
        let level = level.as_str();
        english.push_str(&format!(
            "Log: {origin}\nExport: {export}\nPositions: {from} to {to} (exclusive)\nLevel: {level}\nCreated: {created}\n\n\
             README.txt says how to check this bundle without trusting whoever made it.\n"
        ));
        chinese.push_str(&format!(
            "日志：{origin}\n导出编号：{export}\n位置：{from} 至 {to}（不含）\n披露级别：{level}\n生成时间：{created}\n\n\
             如何在不信任制作方的前提下核验本包，见 README.txt。\n"
        ));
        format!("{chinese}\n----\n\n{english}")
    }
}
