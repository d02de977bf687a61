//! The service directory: what is announced when a service starts, and how it changes.

use super::author::Author;
use super::calendar::DAY;
use super::directory::Status;
use super::names;
use super::random::{Kind, index, mix, power_of_two};

const COLLECTIONS: [&str; 4] = ["Direct", "Channel", "Public Sector", "Healthcare"];

impl Author {
    /// The first event of a service: its whole directory entry.
    pub(super) fn service_started(&mut self, service: u32, at: u64) {
        let number = u64::from(service);
        let (status, established) =
            (self.directory.service(service).status, self.directory.service(service).established);
        let name = names::organization(service);
        let created = if established { at - self.random.between(20 * DAY, 1_500 * DAY) } else { at };
        self.start("service.updated", service, at);
        self.draft.text("name", &name);
        self.draft.text("status", status.name());
        self.draft.text("serviceCode", &format!("SC{number:06}"));
        self.draft.text("referenceId", &format!("REF-{:08}", mix(number ^ 2) % 100_000_000));
        self.draft.text("primaryDomain", &format!("tenant-{number}.example"));
        self.draft.time("createdOn", created);
        if matches!(status, Status::TrialActive | Status::TrialExpired) {
            let days = if status == Status::TrialActive { 30 } else { 0 };
            self.draft.time("trialEndDate", at / DAY * DAY + days * DAY);
        }
        self.draft.number("initialTerm", self.random.pick(&[12, 12, 24, 36]));
        self.sellers(number);
        let collection = mix(number ^ 5) % 4;
        self.draft.guid("collectionGuid", self.guids.of(Kind::Collection, collection));
        self.draft.text("collectionName", COLLECTIONS[index(collection)]);
        self.contact(service);
        self.company(service, &name);
        self.draft.finish();
    }

    /// A change to the entry of some service, which is another status where one can follow from the present one.
    /// False if the service that was drawn hasn't started.
    pub(super) fn service_changed(&mut self, at: u64) -> bool {
        let services = self.directory.services().len() as u64;
        let service = u32::try_from(self.random.below(services)).unwrap_or(0);
        if self.directory.service(service).starts >= at {
            return false;
        }
        self.start("service.updated", service, at);
        match self.next_status(service) {
            Some(status) => {
                self.directory.service_mut(service).status = status;
                self.draft.text("status", status.name());
                self.draft.time("effectiveDate", at);
                if status == Status::CertifiedSecure {
                    // A merge patch: null takes the member away.
                    self.draft.name("trialEndDate");
                    self.draft.raw("null");
                }
            }
            None if self.random.percent(60) => self.contact(service),
            None => self.draft.text("referenceId", &format!("REF-{:08}", self.random.below(100_000_000))),
        }
        self.draft.finish();
        true
    }

    fn next_status(&mut self, service: u32) -> Option<Status> {
        let drawn = self.random.below(100);
        match self.directory.service(service).status {
            Status::TrialActive if drawn < 55 => Some(Status::CertifiedSecure),
            Status::TrialActive => Some(Status::TrialExpired),
            Status::TrialExpired if drawn < 40 => Some(Status::CertifiedSecure),
            Status::TrialExpired if drawn < 70 => Some(Status::AccountCancelled),
            Status::AccountSuspended if drawn < 75 => Some(Status::CertifiedSecure),
            Status::AccountSuspended => Some(Status::AccountCancelled),
            Status::DemoAccount if drawn < 30 => Some(Status::TrialActive),
            // The busiest stay open, so that there is always somewhere for things to happen.
            Status::CertifiedSecure if drawn < 10 && service >= 4 => Some(Status::AccountSuspended),
            _ => None,
        }
    }

    /// Adds who sold the service: a partner, and in three of four cases a reseller of that partner.
    fn sellers(&mut self, service: u64) {
        let resellers = self.directory.services().len() as u64 / 25 + 1;
        let reseller = mix(service ^ 3) % resellers;
        let partner = reseller % (resellers / 6 + 1);
        if !mix(service ^ 4).is_multiple_of(4) {
            self.draft.guid("resellerGuid", self.guids.of(Kind::Reseller, reseller));
            self.draft.text("resellerName", &format!("Example Reseller {reseller}"));
        }
        self.draft.guid("partnerGuid", self.guids.of(Kind::Partner, partner));
        self.draft.text("partnerName", &format!("Example Partner {partner}"));
    }

    /// Adds a contact; its telephone number is one of those reserved for fiction.
    fn contact(&mut self, service: u32) {
        let number = power_of_two(self.random.below(20 << 16));
        let (first, last) = names::person(u32::try_from(number).unwrap_or(0));
        self.draft.name("contact");
        self.draft.raw("{");
        self.draft.text("name", &format!("{first} {last}"));
        self.draft.text("email", &format!("contact.{number}@tenant-{service}.example"));
        self.draft.text("phoneNumber", &format!("+1 555 01{:02}", number % 100));
        self.draft.raw("}");
    }

    fn company(&mut self, service: u32, name: &str) {
        let hash = mix(!u64::from(service));
        self.draft.name("company");
        self.draft.raw("{");
        self.draft.text("name", &format!("{name} Ltd"));
        self.draft.text("address", &format!("{} Sample Street", hash % 400 + 1));
        self.draft.text("city", names::city(service));
        self.draft.text("stateProvince", "Exampleshire");
        self.draft.text("postalCode", &format!("{:05}", hash % 100_000));
        self.draft.text("country", "Examplia");
        self.draft.text("website", &format!("https://www.tenant-{service}.example/"));
        self.draft.raw("}");
    }
}
