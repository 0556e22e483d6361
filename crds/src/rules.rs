//! The longer validation rules of the schemas, as CEL expressions.
//!
//! A quantity reaches a rule as text or as a number, whichever the writer used; `string()` makes it text.
//! <https://kubernetes.io/docs/reference/using-api/cel/> describes the functions.

/// `smaller <= larger`, both being quantities.
pub(crate) fn at_most(smaller: &str, larger: &str) -> String {
    format!("quantity(string({smaller})).compareTo(quantity(string({larger}))) <= 0")
}

/// As [`at_most`], for two optional fields of `self`; holds where one is absent.
pub(crate) fn field_at_most(smaller: &str, larger: &str) -> String {
    let compared = at_most(&format!("self.{smaller}"), &format!("self.{larger}"));
    format!("!has(self.{smaller}) || !has(self.{larger}) || {compared}")
}

/// As [`at_most`], for each resource that two optional lists of `self` share.
pub(crate) fn list_at_most(smaller: &str, larger: &str) -> String {
    let compared = at_most(&format!("self.{smaller}[r]"), &format!("self.{larger}[r]"));
    format!(
        "!has(self.{smaller}) || !has(self.{larger}) || \
         self.{smaller}.all(r, !(r in self.{larger}) || {compared})"
    )
}

/// An optional quantity of `self` is not negative.
pub(crate) fn field_not_negative(field: &str) -> String {
    format!(
        "!has(self.{field}) || {}",
        not_negative(&format!("self.{field}"))
    )
}

/// No amount in an optional list of `self` is negative.
pub(crate) fn list_not_negative(list: &str) -> String {
    format!(
        "!has(self.{list}) || self.{list}.all(r, {})",
        not_negative(&format!("self.{list}[r]"))
    )
}

/// Where an optional list of `self` has reclaimed CPU, it is a whole number: the scheduler knows extended resources
/// in whole numbers only.
pub(crate) fn reclaimed_cpu_is_whole(list: &str) -> String {
    let key = crate::constants::resource::RECLAIMED_MILLICPU;
    let amount = format!("self.{list}['{key}']");
    format!(
        "!has(self.{list}) || !('{key}' in self.{list}) || \
         quantity(string({amount})).isInteger()"
    )
}

// By the quantity's pattern only a negative amount starts with a minus.
fn not_negative(amount: &str) -> String {
    format!("!string({amount}).startsWith('-')")
}
