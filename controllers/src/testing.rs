//! Values for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use katalyst_core::reclaimed::Reclaimed;
use serde_json::json;

use crate::index::{CnrFacts, Measured, NodeFacts, NodeView, Owner, Report};

/// One GiB.
pub(crate) const GIB: u64 = 1 << 30;

/// A Node with the UID `uid-NAME`.
pub(crate) fn node(name: &str, labels: &[(&str, &str)]) -> NodeFacts {
    NodeFacts {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        terminating: false,
    }
}

/// The CNR of [`node`] without a report.
pub(crate) fn cnr(name: &str) -> CnrFacts {
    CnrFacts {
        name: name.to_owned(),
        uid: format!("uid-cnr-{name}"),
        resource_version: Some(1),
        labels: BTreeMap::new(),
        applied_labels: BTreeSet::new(),
        owners: vec![Owner {
            kind: "Node".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-{name}"),
        }],
        terminating: false,
        report: Report::Missing,
        ours: json!({}),
    }
}

/// A report made at `stamp` of a machine of 10 CPUs and 100 GiB whose services use `peak` thousandths and 10 GiB.
pub(crate) fn report(stamp: f64, peak: u64) -> Report {
    Report::Seen(Measured {
        updated: jiff::Timestamp::from_millisecond((stamp * 1000.0) as i64).unwrap(),
        capacity: Reclaimed::new(10_000, 100 * GIB),
        service_peak: Reclaimed::new(peak, 10 * GIB),
    })
}

/// The CNR of [`node`] with a [`report`].
pub(crate) fn reporting(name: &str, stamp: f64, peak: u64) -> CnrFacts {
    CnrFacts {
        report: report(stamp, peak),
        ..cnr(name)
    }
}

/// A view with nothing in it but a name.
pub(crate) fn view() -> ViewBuilder {
    ViewBuilder(NodeView {
        name: "n1".to_owned(),
        node: None,
        cnr: None,
        allocated: Reclaimed::ZERO,
        pods: 0,
        report_age_seconds: 1.0,
        report_witnessed: true,
    })
}

/// Builds a [`NodeView`].
pub(crate) struct ViewBuilder(NodeView);

impl ViewBuilder {
    pub(crate) fn node(mut self, node: NodeFacts) -> Self {
        self.0.node = Some(Arc::new(node));
        self
    }

    pub(crate) fn cnr(mut self, cnr: CnrFacts) -> Self {
        self.0.cnr = Some(Arc::new(cnr));
        self
    }

    pub(crate) fn allocated(mut self, cpu: u64, memory: u64) -> Self {
        self.0.allocated = Reclaimed::new(cpu, memory);
        self
    }

    pub(crate) fn age(mut self, seconds: f64) -> Self {
        self.0.report_age_seconds = seconds;
        self
    }

    pub(crate) fn unwitnessed(mut self) -> Self {
        self.0.report_witnessed = false;
        self
    }

    pub(crate) fn build(self) -> NodeView {
        self.0
    }
}
