mod support;
fn main() {
    support::measured();
}
