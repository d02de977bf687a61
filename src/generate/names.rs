//! Invented names. Nobody is called this, and every domain ends in `.example` (RFC 2606).

use super::random::{index, mix};

const FIRST_NAMES: [&str; 24] = [
    "Adlen", "Brisu", "Corvi", "Dalmo", "Elvara", "Fenno", "Galwi", "Hestra", "Ivoru", "Jalme", "Kestro", "Lumira",
    "Mavon", "Nelgu", "Orsila", "Pevro", "Quilda", "Ravosh", "Sennu", "Tolvira", "Ulmar", "Veska", "Wenlo", "Yaldri",
];

const LAST_NAMES: [&str; 24] = [
    "Abbrel", "Bortwin", "Caskell", "Dromvar", "Estoff", "Farnqua", "Gundril", "Holmask", "Istvorn", "Jurrick",
    "Kelbost", "Lortham", "Mundrev", "Norquill", "Oskram", "Plentow", "Quarvis", "Rumbolt", "Skelvig", "Trandor",
    "Umbrich", "Vostell", "Wurmlin", "Zelkorn",
];

const FIRMS: [&str; 16] = [
    "Alderfen",
    "Brightmoor",
    "Coppervale",
    "Dunwick",
    "Eastmere",
    "Foxglen",
    "Greyford",
    "Hollowby",
    "Ironbeck",
    "Juniperton",
    "Kingsmarsh",
    "Larkhill",
    "Mossgate",
    "Nettlecombe",
    "Oakhurst",
    "Pinedale",
];

const TRADES: [&str; 12] = [
    "Dental",
    "Freight",
    "Legal",
    "Insurance",
    "Clinic",
    "Accounting",
    "Logistics",
    "Pharma",
    "Realty",
    "School",
    "Council",
    "Advisors",
];

const CITIES: [&str; 8] =
    ["Port Example", "Sampleton", "Mockford", "New Placeholder", "Testhaven", "Fauxbridge", "Dummingen", "Lorem Falls"];

/// The groups that a service sorts its users into.
pub(super) const GROUP_NAMES: [&str; 6] = ["Everyone", "Finance", "Legal", "Claims", "Support", "Partners"];

/// What a user's client reports as its version.
pub(super) const TOOLBAR_VERSIONS: [&str; 5] = ["6.4.112", "6.4.118", "6.5.3", "7.0.0", "7.0.21"];

/// A user's first and last name.
pub(super) fn person(user: u32) -> (&'static str, &'static str) {
    let hash = mix(u64::from(user));
    (choose(&FIRST_NAMES, hash), choose(&LAST_NAMES, hash >> 32))
}

/// A last name by number, for one who changes it.
pub(super) fn last_name(number: u64) -> &'static str {
    choose(&LAST_NAMES, number)
}

/// The name of a service, or of another organization by its number: unique, as the number is part of it.
pub(super) fn organization(number: u32) -> String {
    let hash = mix(!u64::from(number));
    format!("{} {} {number}", choose(&FIRMS, hash), choose(&TRADES, hash >> 32))
}

/// The city that a service's company is in.
pub(super) fn city(service: u32) -> &'static str {
    choose(&CITIES, mix(u64::from(service) << 32))
}

fn choose(list: &[&'static str], hash: u64) -> &'static str {
    list[index((hash & 0xffff_ffff) % list.len() as u64)]
}
