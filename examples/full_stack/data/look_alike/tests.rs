use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::super::sha256;
use super::*;

// How far a figure of the look-alike may be from the real file's: three standard deviations of the
// figure in a sample of 7,043.

/// A share; the widest is one half, standard deviation 0.0060.
const SHARE: f64 = 0.018;
/// A churn rate; the widest is that of the 1,142 seniors, 0.0146.
const RATE: f64 = 0.044;
/// A mean, as a part of it; the widest is that of TotalCharges, 0.0118.
const MEAN: f64 = 0.036;
/// A standard deviation, as a part of it; of a normal sample 0.0084.
const SPREAD: f64 = 0.025;
/// A correlation of 0.248; 0.0112.
const CORRELATION: f64 = 0.034;

/// Figures of the real file are written below to four digits and more. Less than one customer.
const AS_WRITTEN: f64 = 1e-4;

/// Every level of every column that has levels, with the number of customers in the real file.
const LEVELS: [(&str, &[(&str, u32)]); 17] = [
    ("gender", &[("Female", 3488), ("Male", 3555)]),
    ("SeniorCitizen", &[("0", 5901), ("1", 1142)]),
    ("Partner", &[("Yes", 3402), ("No", 3641)]),
    ("Dependents", &[("Yes", 2110), ("No", 4933)]),
    ("PhoneService", &[("Yes", 6361), ("No", 682)]),
    ("MultipleLines", &[("Yes", 2971), ("No", 3390), ("No phone service", 682)]),
    ("InternetService", &[("DSL", 2421), ("Fiber optic", 3096), ("No", 1526)]),
    ("OnlineSecurity", &[("Yes", 2019), ("No", 3498), ("No internet service", 1526)]),
    ("OnlineBackup", &[("Yes", 2429), ("No", 3088), ("No internet service", 1526)]),
    ("DeviceProtection", &[("Yes", 2422), ("No", 3095), ("No internet service", 1526)]),
    ("TechSupport", &[("Yes", 2044), ("No", 3473), ("No internet service", 1526)]),
    ("StreamingTV", &[("Yes", 2707), ("No", 2810), ("No internet service", 1526)]),
    ("StreamingMovies", &[("Yes", 2732), ("No", 2785), ("No internet service", 1526)]),
    ("Contract", &[("Month-to-month", 3875), ("One year", 1473), ("Two year", 1695)]),
    ("PaperlessBilling", &[("Yes", 4171), ("No", 2872)]),
    (
        "PaymentMethod",
        &[
            ("Electronic check", 2365),
            ("Mailed check", 1612),
            ("Bank transfer (automatic)", 1544),
            ("Credit card (automatic)", 1522),
        ],
    ),
    ("Churn", &[("Yes", 1869), ("No", 5174)]),
];

/// Mean and standard deviation of the numeric columns of the real file.
const NUMBERS: [(&str, f64, f64); 3] = [
    ("tenure", 32.371, 24.559),
    ("MonthlyCharges", 64.762, 30.090),
    ("TotalCharges", 2283.300, 2266.771),
];
/// Correlation of tenure and monthly charges in the real file.
const TENURE_WITH_MONTHLY: f64 = 0.248;

/// Churn rates of the real file: column, level, rate.
const CHURN_RATES: [(&str, &str, f64); 9] = [
    ("InternetService", "Fiber optic", 0.4189),
    ("InternetService", "DSL", 0.1896),
    ("InternetService", "No", 0.0740),
    ("Contract", "Month-to-month", 0.4271),
    ("Contract", "One year", 0.1127),
    ("Contract", "Two year", 0.0283),
    ("PaymentMethod", "Electronic check", 0.4529),
    ("SeniorCitizen", "1", 0.4168),
    ("PaperlessBilling", "Yes", 0.3357),
];
/// Churn rate of the real file's customers without fibre.
const CHURN_WITHOUT_FIBRE: f64 = 0.1449;

/// A parsed file.
struct Table {
    header: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    fn parse(bytes: &[u8]) -> Self {
        let mut reader = csv::Reader::from_reader(bytes);
        let header = reader.headers().unwrap().iter().map(str::to_owned).collect();
        Self { header, rows: reader.records().collect::<Result<_, _>>().unwrap() }
    }

    fn generated() -> Self {
        Self::parse(&generate())
    }

    /// The real file; `None`, said aloud, where it is not at hand.
    fn real() -> Option<Self> {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/telco-customer-churn.csv");
        match fs::read(&path) {
            Ok(bytes) => Some(Self::parse(&bytes)),
            Err(error) => {
                // Not `eprintln!`, which the test harness keeps to itself.
                let what = format!("SKIPPED, no real file at {}: {error}\n", path.display());
                io::stderr().write_all(what.as_bytes()).unwrap();
                None
            }
        }
    }

    fn column(&self, name: &str) -> impl Iterator<Item = &str> {
        let at = self.header.iter().position(|h| h == name).unwrap();
        self.rows.iter().map(move |row| &row[at])
    }

    /// The numbers of a column; a blank is left out.
    fn numbers(&self, name: &str) -> Vec<f64> {
        self.column(name)
            .map(str::trim)
            .filter(|s| !s.is_empty())
            .map(|s| s.parse().unwrap())
            .collect()
    }

    /// Share of the rows that have these levels in these two columns.
    fn pairs(&self, a: &str, b: &str) -> HashMap<(&str, &str), f64> {
        let mut shares = HashMap::new();
        for pair in self.column(a).zip(self.column(b)) {
            *shares.entry(pair).or_insert(0.0) += 1.0 / count(self.rows.len());
        }
        shares
    }

    /// Churn rate of the rows whose `column` is a level that `is` it.
    fn churn(&self, column: &str, is: impl Fn(&str) -> bool) -> f64 {
        let group = self.column(column).zip(self.column("Churn")).filter(|(level, _)| is(level));
        mean(&group.map(|(_, churn)| f64::from(u8::from(churn == "Yes"))).collect::<Vec<_>>())
    }

    fn customers(&self) -> Vec<Customer> {
        let at: HashMap<_, _> =
            self.header.iter().enumerate().map(|(i, h)| (h.as_str(), i)).collect();
        let customer = |row: &csv::StringRecord| {
            let yes = |name: &str| &row[at[name]] == "Yes";
            Customer {
                male: &row[at["gender"]] == "Male",
                senior: &row[at["SeniorCitizen"]] == "1",
                partner: yes("Partner"),
                dependents: yes("Dependents"),
                contract: match &row[at["Contract"]] {
                    "One year" => Contract::OneYear,
                    "Two year" => Contract::TwoYear,
                    _ => Contract::Monthly,
                },
                tenure: row[at["tenure"]].parse().unwrap(),
                internet: match &row[at["InternetService"]] {
                    "DSL" => Internet::Dsl,
                    "Fiber optic" => Internet::Fibre,
                    _ => Internet::None,
                },
                phone: yes("PhoneService"),
                lines: yes("MultipleLines"),
                add_ons: [
                    yes("OnlineSecurity"),
                    yes("OnlineBackup"),
                    yes("DeviceProtection"),
                    yes("TechSupport"),
                    yes("StreamingTV"),
                    yes("StreamingMovies"),
                ],
                paperless: yes("PaperlessBilling"),
                payment: match &row[at["PaymentMethod"]] {
                    "Electronic check" => Payment::Electronic,
                    "Mailed check" => Payment::Mailed,
                    "Bank transfer (automatic)" => Payment::Bank,
                    _ => Payment::Card,
                },
                churn: yes("Churn"),
            }
        };
        self.rows.iter().map(customer).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand rows")]
fn count(n: usize) -> f64 {
    n as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values.len())
}

fn covariance(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    mean(&a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).collect::<Vec<_>>())
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    covariance(a, b) / (covariance(a, a) * covariance(b, b)).sqrt()
}

#[track_caller]
fn near(what: &str, found: f64, real: f64, tolerance: f64) {
    assert!((found - real).abs() <= tolerance, "{what}: {found}, real {real}, within {tolerance}");
}

/// Levels, numbers and churn rates against the constants above. `scale` multiplies the tolerances of
/// the numbers.
fn check_marginals(table: &Table, share: f64, rate: f64, scale: f64) {
    let rows = count(ROWS);
    assert_eq!(table.rows.len(), ROWS);
    for (column, levels) in LEVELS {
        for (level, real) in levels {
            let found = count(table.column(column).filter(|l| l == level).count());
            near(&format!("{column} = {level}"), found / rows, f64::from(*real) / rows, share);
        }
    }
    for (column, real_mean, real_sd) in NUMBERS {
        let values = table.numbers(column);
        near(column, mean(&values), real_mean, MEAN * scale * real_mean);
        near(column, covariance(&values, &values).sqrt(), real_sd, SPREAD * scale * real_sd);
    }
    let found = correlation(&table.numbers("tenure"), &table.numbers("MonthlyCharges"));
    near("correlation", found, TENURE_WITH_MONTHLY, CORRELATION * scale);
    for (column, level, real) in CHURN_RATES {
        let what = format!("churn of {column} = {level}");
        near(&what, table.churn(column, |l| l == level), real, rate);
    }
    let found = table.churn("InternetService", |l| l != "Fiber optic");
    near("churn without fibre", found, CHURN_WITHOUT_FIBRE, share);
}

#[test]
fn the_header_is_the_real_one() {
    let file = String::from_utf8(generate()).unwrap();
    assert_eq!(file.lines().next().unwrap(), HEADER);
    assert_eq!(
        HEADER,
        "customerID,gender,SeniorCitizen,Partner,Dependents,tenure,PhoneService,MultipleLines,\
         InternetService,OnlineSecurity,OnlineBackup,DeviceProtection,TechSupport,StreamingTV,\
         StreamingMovies,Contract,PaperlessBilling,PaymentMethod,MonthlyCharges,TotalCharges,Churn"
    );
    assert_eq!(file.lines().count(), ROWS + 1);
}

/// Also across versions: who changes the generator changes this hash, knowingly.
#[test]
fn it_is_the_same_bytes_every_time() {
    let file = generate();
    assert_eq!(file, generate());
    assert_eq!(sha256(&file), "3dd16bce90ec5e7d78ea7c7337d2fce945cd3b7a0b0cacedaca0e462ded7b7e7");
}

#[test]
fn marginals_are_near_the_real_ones() {
    check_marginals(&Table::generated(), SHARE, RATE, 1.0);
}

#[test]
fn levels_are_valid_and_identifiers_unique() {
    let table = Table::generated();
    for (column, levels) in LEVELS {
        for found in table.column(column) {
            assert!(levels.iter().any(|(level, _)| *level == found), "{column}: {found:?}");
        }
    }
    let mut ids = HashSet::new();
    for id in table.column("customerID") {
        let (digits, letters) = id.split_once('-').unwrap();
        assert!(digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()), "{id}");
        assert!(letters.len() == 5 && letters.bytes().all(|b| b.is_ascii_uppercase()), "{id}");
        assert!(ids.insert(id), "{id} twice");
    }
}

#[test]
fn what_belongs_together_goes_together() {
    let table = Table::generated();
    let mut new_customers = 0;
    for row in &table.rows {
        let cell = |name: &str| &row[table.header.iter().position(|h| h == name).unwrap()];
        let (internet, phone) = (cell("InternetService"), cell("PhoneService"));
        for (column, _) in &LEVELS[7..13] {
            assert_eq!(cell(column) == "No internet service", internet == "No", "{row:?}");
        }
        assert_eq!(cell("MultipleLines") == "No phone service", phone == "No", "{row:?}");
        assert!(phone == "Yes" || internet == "DSL", "{row:?}");

        let tenure: u8 = cell("tenure").parse().unwrap();
        assert!(tenure <= LONGEST_TENURE, "{row:?}");
        match tenure {
            0 => {
                new_customers += 1;
                assert_eq!((cell("TotalCharges"), cell("Churn")), (" ", "No"), "{row:?}");
            }
            1 => assert_eq!(cell("TotalCharges"), cell("MonthlyCharges"), "{row:?}"),
            _ => assert!(cell("TotalCharges").parse::<f64>().unwrap() > 0.0, "{row:?}"),
        }
    }
    assert!((3..=25).contains(&new_customers), "{new_customers} of tenure 0, the real file has 11");
}

#[test]
fn charges_follow_the_price_list() {
    // Six standard deviations of the noise of the longest bill, nine items.
    const FARTHEST: f64 = 6.0 * PRICE_NOISE * 3.0;
    let table = Table::generated();
    for (c, monthly) in table.customers().iter().zip(table.numbers("MonthlyCharges")) {
        near("monthly charge", monthly, price(c).0, FARTHEST);
    }
}

#[test]
fn amounts_are_written_like_the_real_ones() {
    assert_eq!(
        [29.85, 70.7, 20.0, 1840.75, 100.0].map(dollars),
        ["29.85", "70.7", "20", "1840.75", "100"]
    );
}

/// The real file has the figures written above, and the look-alike its header and its pairs.
#[test]
fn the_look_alike_is_near_the_real_file() {
    let Some(real) = Table::real() else { return };
    let generated = Table::generated();
    check_marginals(&real, AS_WRITTEN, AS_WRITTEN, 0.02);
    assert_eq!(real.header, generated.header);

    for (i, (a, _)) in LEVELS.iter().enumerate() {
        for (b, _) in &LEVELS[i + 1..] {
            let (found, expected) = (generated.pairs(a, b), real.pairs(a, b));
            for pair in found.keys().chain(expected.keys()) {
                let share = |shares: &HashMap<_, f64>| shares.get(pair).copied().unwrap_or(0.0);
                near(&format!("{a}, {b} = {pair:?}"), share(&found), share(&expected), SHARE);
            }
        }
    }
    let real_ids: HashSet<_> = real.column("customerID").collect();
    let copied = generated.column("customerID").filter(|id| real_ids.contains(id)).count();
    assert_eq!(copied, 0, "customers with an identifier of the real file");
}

/// At the maximum of the likelihood the residuals of a step sum to nothing over every covariate.
/// So this holds for no other numbers than the estimates.
#[test]
fn every_step_is_the_maximum_likelihood_fit_of_the_real_file() {
    /// The coefficients have three digits.
    const ROUNDING: f64 = 5e-4;
    type Question = fn(&Customer) -> bool;

    let Some(real) = Table::real() else { return };
    let customers = real.customers();
    let everyone: Question = |_| true;
    let online: Question = |c| c.internet != Internet::None;
    let steps: [(&str, &[f64], Question, Question); 19] = [
        ("senior", SENIOR, everyone, |c| c.senior),
        ("partner", PARTNER, everyone, |c| c.partner),
        ("dependents", DEPENDENTS, everyone, |c| c.dependents),
        ("bound", BOUND, everyone, |c| c.contract != Contract::Monthly),
        (
            "two years",
            TWO_YEARS,
            |c| c.contract != Contract::Monthly,
            |c| c.contract == Contract::TwoYear,
        ),
        ("internet", INTERNET, everyone, online),
        ("fibre", FIBRE, online, |c| c.internet == Internet::Fibre),
        ("phone", PHONE, |c| c.internet == Internet::Dsl, |c| c.phone),
        ("lines", LINES, |c| c.phone, |c| c.lines),
        ("security", SECURITY, online, |c| c.add_ons[0]),
        ("backup", BACKUP, online, |c| c.add_ons[1]),
        ("protection", PROTECTION, online, |c| c.add_ons[2]),
        ("support", SUPPORT, online, |c| c.add_ons[3]),
        ("tv", TV, online, |c| c.add_ons[4]),
        ("movies", MOVIES, online, |c| c.add_ons[5]),
        ("paperless", PAPERLESS, everyone, |c| c.paperless),
        ("electronic", ELECTRONIC, everyone, |c| c.payment == Payment::Electronic),
        ("mailed", MAILED, |c| c.payment != Payment::Electronic, |c| c.payment == Payment::Mailed),
        (
            "bank",
            BANK,
            |c| matches!(c.payment, Payment::Bank | Payment::Card),
            |c| c.payment == Payment::Bank,
        ),
    ];
    let churn: (&str, &[f64], Question, Question) = ("churn", CHURN, |c| c.tenure > 0, |c| c.churn);
    for (name, step, asked, answer) in steps.into_iter().chain([churn]) {
        let mut score = [0.0; COVARIATES];
        // The most that rounding every coefficient can add to the score, to first order.
        let mut slack = [0.0; COVARIATES];
        for c in customers.iter().filter(|c| asked(c)) {
            let p = chance(step, c);
            let residual = f64::from(u8::from(answer(c))) - p;
            let x = &covariates(c)[..step.len()];
            let shift = ROUNDING * x.iter().map(|x| x.abs()).sum::<f64>();
            for (k, x) in x.iter().enumerate() {
                score[k] += residual * x;
                slack[k] += p * (1.0 - p) * shift * x.abs();
            }
        }
        for k in 0..step.len() {
            near(&format!("{name}, covariate {k}"), score[k], 0.0, slack[k]);
        }
    }

    let mut counts = [[[0; 18]; 3]; 3];
    for c in &customers {
        let (contract, household) = tenure_cell(c);
        let band = TENURE_BANDS.iter().position(|(a, b)| (*a..=*b).contains(&c.tenure)).unwrap();
        counts[contract][household][band] += 1;
    }
    assert_eq!(counts, TENURE_COUNTS);

    let (mut squares, mut items) = (0.0, 0.0);
    for (c, monthly) in customers.iter().zip(real.numbers("MonthlyCharges")) {
        let (list, on_the_bill) = price(c);
        squares += (monthly - list).powi(2);
        items += on_the_bill;
    }
    near("price noise", (squares / items).sqrt(), PRICE_NOISE, 5e-4);

    let monthly = real.numbers("MonthlyCharges");
    let bills: Vec<f64> = real
        .column("TotalCharges")
        .zip(monthly)
        .zip(&customers)
        .filter(|(_, c)| c.tenure > 1)
        .map(|((total, monthly), c)| {
            let months = f64::from(c.tenure);
            (total.parse::<f64>().unwrap() / monthly - months).powi(2) / months
        })
        .collect();
    near("bill noise", mean(&bills).sqrt(), BILL_NOISE, 5e-4);
}
