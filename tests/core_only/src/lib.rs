//! Uses the core as a stranger would who switched every feature off.

#[cfg(test)]
mod tests {
    use pmmds as _;

    #[test]
    fn the_bare_core_links() {}
}
