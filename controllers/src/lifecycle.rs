//! Which CNR objects should exist: one for each Node, with its name, its labels and an owner reference to it.
//!
//! A CNR is never deleted here. The owner reference lets the garbage collector take it with its Node, and a Node recreated
//! under the same name gets the reference renewed. Labels are applied with our own field manager, so a label that leaves the
//! Node leaves the CNR too, while labels that others put on the CNR stay.

use k8s_openapi::api::core::v1::Node;
use katalyst_crds::node::CustomNodeResource;
use kube::Resource;
use serde_json::{Value, json};

use crate::index::{CnrFacts, NodeFacts, NodeView};

pub use katalyst_crds::constants::field_manager::CAPACITY_CONTROLLER as FIELD_MANAGER;

/// Why a CNR's metadata has to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectReason {
    /// There is no CNR for the Node.
    Missing,
    /// Its labels are not the Node's.
    Labels,
    /// Its owner is not the Node, or not this one of that name.
    Owner,
}

impl ObjectReason {
    /// Name for logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Labels => "labels",
            Self::Owner => "owner",
        }
    }
}

/// Whether the node's CNR has to be created or repaired, and the object to apply.
pub fn plan(view: &NodeView) -> Option<(ObjectReason, Value)> {
    let node = view.node.as_deref().filter(|node| !node.terminating)?;
    let reason = match view.cnr.as_deref() {
        None => ObjectReason::Missing,
        // An object on its way out can be replaced only after it is gone.
        Some(cnr) if cnr.terminating => return None,
        Some(cnr) if !owned_by(cnr, node) => ObjectReason::Owner,
        Some(cnr) if !labels_match(cnr, node) => ObjectReason::Labels,
        Some(_) => return None,
    };
    Some((reason, object(node)))
}

fn owned_by(cnr: &CnrFacts, node: &NodeFacts) -> bool {
    cnr.owners.iter().any(|owner| {
        owner.kind == Node::kind(&()) && owner.name == node.name && owner.uid == node.uid
    })
}

fn labels_match(cnr: &CnrFacts, node: &NodeFacts) -> bool {
    node.labels
        .iter()
        .all(|(key, value)| cnr.labels.get(key) == Some(value))
        && cnr
            .applied_labels
            .iter()
            .all(|key| node.labels.contains_key(key))
}

/// The object to apply for a Node's CNR.
fn object(node: &NodeFacts) -> Value {
    json!({
        "apiVersion": CustomNodeResource::api_version(&()),
        "kind": CustomNodeResource::kind(&()),
        "metadata": {
            "name": node.name,
            "labels": node.labels,
            "ownerReferences": [{
                "apiVersion": Node::api_version(&()),
                "kind": Node::kind(&()),
                "name": node.name,
                "uid": node.uid,
            }],
        },
        // The schema wants a spec; an empty one leaves alone whatever others put in it.
        "spec": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Owner;
    use crate::testing;

    #[test]
    fn a_node_without_a_cnr_gets_one_with_its_labels_and_owner() {
        let view = testing::view()
            .node(testing::node("n1", &[("zone", "a")]))
            .build();
        let (reason, object) = plan(&view).unwrap();
        assert_eq!(reason, ObjectReason::Missing);
        assert_eq!(object["metadata"]["name"], "n1");
        assert_eq!(object["metadata"]["labels"], json!({"zone": "a"}));
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-n1");
        assert_eq!(object["apiVersion"], "node.katalyst.kubewharf.io/v1alpha1");
        assert_eq!(object["spec"], json!({}));
        assert!(object.get("status").is_none());
    }

    #[test]
    fn a_matching_cnr_is_left_alone_whatever_others_added() {
        let mut cnr = testing::cnr("n1");
        cnr.labels.insert("theirs".into(), "x".into());
        assert!(
            plan(
                &testing::view()
                    .node(testing::node("n1", &[]))
                    .cnr(cnr)
                    .build()
            )
            .is_none()
        );
    }

    #[test]
    fn a_label_that_left_the_node_leaves_the_cnr() {
        let mut cnr = testing::cnr("n1");
        cnr.labels.insert("old".into(), "x".into());
        cnr.applied_labels.insert("old".into());
        let (reason, _) = plan(
            &testing::view()
                .node(testing::node("n1", &[]))
                .cnr(cnr)
                .build(),
        )
        .unwrap();
        assert_eq!(reason, ObjectReason::Labels);
    }

    #[test]
    fn an_owner_removed_or_of_a_former_node_is_repaired() {
        let mut orphan = testing::cnr("n1");
        orphan.owners.clear();
        let mut former = testing::cnr("n1");
        former.owners = vec![Owner {
            kind: "Node".into(),
            name: "n1".into(),
            uid: "uid-before".into(),
        }];
        for cnr in [orphan, former] {
            let (reason, _) = plan(
                &testing::view()
                    .node(testing::node("n1", &[]))
                    .cnr(cnr)
                    .build(),
            )
            .unwrap();
            assert_eq!(reason, ObjectReason::Owner);
        }
    }

    #[test]
    fn objects_on_their_way_out_are_left_alone() {
        let mut node = testing::node("n1", &[]);
        node.terminating = true;
        assert!(plan(&testing::view().node(node).build()).is_none());
        let mut cnr = testing::cnr("n1");
        cnr.owners.clear();
        cnr.terminating = true;
        assert!(
            plan(
                &testing::view()
                    .node(testing::node("n1", &[]))
                    .cnr(cnr)
                    .build()
            )
            .is_none()
        );
        assert!(
            plan(&testing::view().cnr(testing::cnr("n1")).build()).is_none(),
            "no node: garbage collection's business"
        );
    }
}
