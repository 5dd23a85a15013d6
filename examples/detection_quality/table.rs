//! What was found, as Markdown.

use std::fmt;

use crate::cells::Counted;
use crate::population::{Change, Population};
use crate::{Arguments, THRESHOLD, rules};

/// Largest share of false alarms that we allow ourselves, as the upper end of its interval.
const ALLOWED: f64 = 0.01;

/// A rule with more false alarms than this is no rival in detection.
const RIVAL: f64 = 0.05;

/// The tables, and what they say of our rule.
#[derive(Debug)]
pub(crate) struct Tables<'a> {
    arguments: &'a Arguments,
    populations: &'a [Population],
    cells: &'a [Counted],
}

impl<'a> Tables<'a> {
    pub(crate) fn new(
        arguments: &'a Arguments,
        populations: &'a [Population],
        cells: &'a [Counted],
    ) -> Self {
        Self { arguments, populations, cells }
    }

    fn header(&self, f: &mut fmt::Formatter<'_>, first: &str) -> fmt::Result {
        write!(f, "| {first} | rows |")?;
        rules::all().iter().try_for_each(|rule| write!(f, " {} |", rule.name()))?;
        write!(f, "\n|---|---:|")?;
        rules::all().iter().try_for_each(|_| write!(f, "---:|"))?;
        writeln!(f)
    }

    fn false_alarms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header(f, "nothing changed")?;
        for cell in self.cells.iter().filter(|cell| cell.change == Change::None) {
            write!(f, "| {} | {} |", cell.population, cell.rows)?;
            for hits in &cell.hits {
                write!(f, " {} |", percent(hits.share()))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn detection(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header(f, "what changed (largest true PSI)")?;
        for population in self.populations {
            for cell in self.cells.iter().filter(|cell| cell.population == population.name) {
                if !population.drifted(cell.change).contains(&true) {
                    continue;
                }
                let truth = population.truth(cell.change).iter().copied().fold(0.0, f64::max);
                write!(f, "| {}: {} ({truth:.2}) | {} |", cell.population, cell.change, cell.rows)?;
                for (rule, hits) in cell.hits.iter().enumerate() {
                    // A rule that cries wolf has not earned what it finds.
                    let (open, close) =
                        if self.is_rival(rule, cell) { ("", "") } else { ("(", ")") };
                    write!(f, " {open}{}{close} |", percent(hits.share()))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }

    /// The cell without drift beside `cell`.
    fn quiet(&self, cell: &Counted) -> Option<&Counted> {
        self.cells.iter().find(|other| {
            other.change == Change::None
                && (&other.population, other.rows) == (&cell.population, cell.rows)
        })
    }

    fn is_rival(&self, rule: usize, cell: &Counted) -> bool {
        self.quiet(cell).is_some_and(|quiet| quiet.hits[rule].share() <= RIVAL)
    }

    /// Largest upper end of our false-alarm rate, and where.
    fn worst(&self) -> Option<(f64, &Counted)> {
        let ours = ours();
        self.cells
            .iter()
            .filter(|cell| cell.change == Change::None)
            .map(|cell| (cell.hits[ours].interval().1, cell))
            .max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Cells in which a rule that is no worse in false alarms finds more, beyond chance.
    fn lost(&self) -> Vec<String> {
        let ours = ours();
        let mut lost = Vec::new();
        for population in self.populations {
            for cell in self.cells.iter().filter(|cell| cell.population == population.name) {
                if cell.change == Change::None || !population.drifted(cell.change).contains(&true) {
                    continue;
                }
                for (at, rule) in rules::all().iter().enumerate() {
                    let (theirs, mine) = (cell.hits[at], cell.hits[ours]);
                    let beyond_chance = theirs.interval().0 > mine.interval().1;
                    if at != ours && self.is_rival(at, cell) && beyond_chance {
                        lost.push(format!(
                            "{}, {}, {} rows: {} finds {}, ours {}",
                            cell.population,
                            cell.change,
                            cell.rows,
                            rule.name(),
                            percent(theirs.share()),
                            percent(mine.share())
                        ));
                    }
                }
            }
        }
        lost
    }
}

impl fmt::Display for Tables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Arguments { windows, drifted_windows, reference, seed, .. } = self.arguments;
        writeln!(
            f,
            "False alarms: windows in which any feature was flagged though nothing had changed \
             ({windows} windows a cell, two fifths of them above 200 rows and a fifth above 1,000; {reference} reference rows \
             drawn anew for each; seed {seed}).\n"
        )?;
        self.false_alarms(f)?;
        writeln!(
            f,
            "\nDetection: windows in which a feature was flagged whose true PSI is at least \
             {THRESHOLD} ({drifted_windows} windows a cell, fewer above 200 rows in the same way). In brackets where the rule's false \
             alarms at this size are above {}.\n",
            percent(RIVAL)
        )?;
        self.detection(f)?;
        if let Some((upper, cell)) = self.worst() {
            writeln!(
                f,
                "\nOur false alarms: at most {} (upper end of the 95 % interval; {}, {} rows), {} \
                 allowed.",
                percent(upper),
                cell.population,
                cell.rows,
                percent(ALLOWED)
            )?;
        }
        let lost = self.lost();
        if lost.is_empty() {
            return writeln!(f, "No rule with at most {} false alarms finds more.", percent(RIVAL));
        }
        writeln!(f, "Found more often by a rule with at most {} false alarms:", percent(RIVAL))?;
        lost.iter().try_for_each(|line| writeln!(f, "* {line}"))
    }
}

fn ours() -> usize {
    rules::all().iter().position(|rule| rule.is_ours()).unwrap_or_default()
}

/// With a decimal where it tells; what is not all is never shown as 100.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 10.0 || percent > 99.0 && percent < 100.0 {
        format!("{:.1} %", percent.min(99.9))
    } else {
        format!("{percent:.0} %")
    }
}
