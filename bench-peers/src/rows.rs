//! One row for each target and peer.

use serde_json::{Value, json};

/// A target, as a bound of `ours / peer`, or of `ours` where there is no peer.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At least; rates are compared.
    AtLeast(f64),
    /// At most; times are compared.
    AtMost(f64),
    /// Reported beside the targets.
    Beside,
}

impl Target {
    fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!(">= {bound}"),
            Self::AtMost(bound) => format!("<= {bound}"),
            Self::Beside => "reported beside".to_owned(),
        }
    }
}

/// Whether a target is met.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Holds,
    Short,
    NotApplicable,
    Beside,
}

/// One line of the table.
#[derive(Clone)]
pub(crate) struct Row {
    id: &'static str,
    /// What was done, and the unit of both figures.
    work: String,
    ours: Option<f64>,
    peer: Option<f64>,
    peer_name: String,
    target: Target,
    verdict: Verdict,
}

impl Row {
    /// Measured beside a peer; the target bounds the ratio.
    pub(crate) fn ratio(
        id: &'static str,
        work: impl Into<String>,
        target: Target,
        ours: f64,
        (peer_name, peer): (&str, f64),
    ) -> Self {
        Self {
            id,
            work: work.into(),
            ours: Some(ours),
            peer: Some(peer),
            peer_name: peer_name.to_owned(),
            target,
            verdict: verdict(target, ours / peer),
        }
    }

    /// Measured against the target itself.
    pub(crate) fn value(
        id: &'static str,
        work: impl Into<String>,
        target: Target,
        ours: f64,
    ) -> Self {
        Self {
            id,
            work: work.into(),
            ours: Some(ours),
            peer: None,
            peer_name: "-".to_owned(),
            target,
            verdict: verdict(target, ours),
        }
    }

    /// This machine cannot do it.
    pub(crate) fn not_applicable(
        id: &'static str,
        work: impl Into<String>,
        target: Target,
        why: &str,
    ) -> Self {
        Self {
            id,
            work: work.into(),
            ours: None,
            peer: None,
            peer_name: why.to_owned(),
            target,
            verdict: Verdict::NotApplicable,
        }
    }

    /// It was not run, which counts as short.
    pub(crate) fn not_run(
        id: &'static str,
        work: impl Into<String>,
        target: Target,
        why: &str,
    ) -> Self {
        Self {
            verdict: Verdict::Short,
            ..Self::not_applicable(id, work, target, why)
        }
    }

    fn ratio_of(&self) -> Option<f64> {
        Some(self.ours? / self.peer?)
    }

    fn holds(&self) -> &'static str {
        match self.verdict {
            Verdict::Holds => "holds",
            Verdict::Short => "short",
            Verdict::NotApplicable => "not applicable",
            Verdict::Beside => "",
        }
    }

    fn json(&self) -> Value {
        let holds = match self.verdict {
            Verdict::Holds => json!(true),
            Verdict::Short => json!(false),
            Verdict::NotApplicable => json!("not applicable"),
            Verdict::Beside => Value::Null,
        };
        json!({
            "id": self.id,
            "work": self.work,
            "ours": self.ours.map(rounded),
            "peer": self.peer.map(rounded),
            "peer_name": self.peer_name,
            "ratio": self.ratio_of().map(rounded),
            "target": self.target.text(),
            "holds": holds,
        })
    }
}

fn verdict(target: Target, value: f64) -> Verdict {
    let holds = match target {
        Target::AtLeast(bound) => value >= bound,
        Target::AtMost(bound) => value <= bound,
        Target::Beside => return Verdict::Beside,
    };
    if holds {
        Verdict::Holds
    } else {
        Verdict::Short
    }
}

/// Four significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().expect("a number")
}

pub(crate) fn print_json(rows: &[Row]) {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    println!("{:#}", Value::from(rows));
}

pub(crate) fn print_table(rows: &[Row]) {
    println!(
        "{:3} {:58} {:>9} {:>9} {:>6} {:16} {:14} peer",
        "", "work", "ours", "peer", "ratio", "target", ""
    );
    for row in rows {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), figure);
        println!(
            "{:3} {:58} {:>9} {:>9} {:>6} {:16} {:14} {}",
            row.id,
            row.work,
            number(row.ours),
            number(row.peer),
            row.ratio_of()
                .map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            row.target.text(),
            row.holds(),
            row.peer_name,
        );
    }
    let count = |verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    println!(
        "{} hold, {} short, {} not applicable",
        count(Verdict::Holds),
        count(Verdict::Short),
        count(Verdict::NotApplicable)
    );
}

fn figure(value: f64) -> String {
    if value >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}
