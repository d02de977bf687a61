use std::fmt::Write as _;

use uuid::Uuid;

use super::output::print_as;
use super::services::parse_guid;
use super::{Options, Outcome};
use crate::audit::explain::{Answer, EventEntry, Field, NotCounted, Place, Reason, UserEntry};
use crate::jobs::{self, Asked};
use crate::model::{Day, PeriodType};

/// The events behind a number: those that count, and those that do not, and why
///
/// What is listed adds up to the number that the event log has, always; at the end stands the row as it is stored, and
/// whether it has another number.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long, value_name = "GUID", value_parser = parse_guid)]
    service: Uuid,
    /// The period; with monthly any date selects its month
    #[arg(long, value_name = "DATE")]
    period: Day,
    #[arg(long, value_name = "daily|monthly", default_value = "daily")]
    period_type: PeriodType,
    /// A column, such as total_message_count or TotalMessageCount
    #[arg(long, value_name = "NAME")]
    field: Field,
    #[arg(long, default_value = "text")]
    format: Format,
    /// List so many events, users and events that do not count, of each; what is beyond is summed up
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    limit: usize,
    /// Of the storage, list all events so far, instead of summing up those before the period by month
    #[arg(long)]
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Args {
    pub async fn run(self, options: &Options) -> anyhow::Result<Outcome> {
        let reading = options.reading().await?;
        let Self { service, period, period_type, field, format, limit, all } = self;
        let asked = Asked { service, period_type, period, field, limit, all };
        let answer = Box::pin(jobs::explain(&reading, asked)).await?;
        reading.store.close().await;
        print_as(matches!(format, Format::Json), &answer, || text(&answer))?;
        Ok(Outcome::Done)
    }
}

fn text(answer: &Answer) -> String {
    let mut text = String::new();
    let Answer { service, period_type, period, field, number, .. } = answer;
    let _ = writeln!(text, "{field} of service {service}, {period_type} {period}: {number}\n");
    for opening in &answer.opening {
        let month = opening.month.get(..7).unwrap_or(&opening.month);
        let _ = writeln!(
            text,
            "{:>12}  {} events of {month} before the period",
            signed(opening.contribution),
            opening.events
        );
    }
    for entry in &answer.events {
        let _ = writeln!(text, "{:>12}  {}", signed(entry.contribution), event(&entry.event));
    }
    for user in &answer.users {
        let _ = write!(text, "{}", of_user(user));
    }
    if answer.more.count > 0 {
        let (sum, count) = (signed(answer.more.contribution), answer.more.count);
        let _ = writeln!(text, "{sum:>12}  {count} more, beyond --limit");
    }
    let _ = writeln!(text, "{:>12}  sum", answer.sum);
    if answer.cut != 0 {
        let why = if answer.cut > 0 { "below zero: shown as 0" } else { "beyond 2^63 - 1: shown as that" };
        let _ = writeln!(text, "{:>12}  {why}", signed(answer.cut));
    }
    if !answer.not_counted.is_empty() {
        let _ = writeln!(text, "\nNot counted:");
        for line in &answer.not_counted {
            let _ = writeln!(text, "  {}", not_counted(line));
        }
        if answer.more_not_counted > 0 {
            let _ = writeln!(text, "  {} more, beyond --limit", answer.more_not_counted);
        }
    }
    let _ = match &answer.row {
        None => writeln!(text, "\nRow as stored: none"),
        Some(row) => writeln!(
            text,
            "\nRow as stored: {} ({}, revision {}, computed {})",
            row.number, row.state, row.revision, row.computed_at
        ),
    };
    if let Some(remark) = &answer.remark {
        let _ = writeln!(text, "{remark}");
    }
    text
}

fn signed(number: i128) -> String {
    format!("{number:+}")
}

fn event(event: &EventEntry) -> String {
    let EventEntry { time, event_type, source, id, user, pending, dropped, place } = event;
    let of_user = user.as_ref().map_or_else(String::new, |user| format!(" of user {user}"));
    let pending = if *pending { ", waits to be rolled up" } else { "" };
    let dropped = if *dropped { ", its content is no longer kept" } else { "" };
    format!("{time} {event_type}{of_user}  {source} {id}  {}{dropped}{pending}", at(place))
}

fn at(place: &Place) -> String {
    format!("{} line {} ({} row {})", place.input_name, place.line, place.segment, place.row)
}

fn of_user(user: &UserEntry) -> String {
    let mut text = format!("{:>12}  user {}: {}\n", "+1", user.user, user.class);
    let mut line = |what: &str, of: &EventEntry| _ = writeln!(text, "{:14}{what}: {}", "", event(of));
    line("exists since", &user.exists_since);
    if let Some(of) = &user.registered {
        line("registered", of);
    }
    if let Some((group, of)) = &user.group {
        line(&format!("group {group}"), of);
    }
    if let Some(of) = &user.disabled_or_enabled {
        line("disabled or enabled", of);
    }
    text
}

fn not_counted(line: &NotCounted) -> String {
    let why = match &line.reason {
        Reason::Duplicate { of } => format!("a duplicate of {}", at(of)),
        Reason::Voided { by: Some(by) } => format!("voided by {}", event(by)),
        Reason::Voided { by: None } => "voided by what is not in the log".to_owned(),
        Reason::Conflicting { with } => format!("conflicts with {}", event(with)),
        Reason::OtherDay { day } => format!("of another day in the reporting time zone: {day}"),
        Reason::NotYet { day } => format!("after today: {day}"),
    };
    format!("{}: {why}", event(&line.event))
}
