//! Taints of a custom node resource: each is for the pods of one quality-of-service level, and means for them what a taint of a Node means for all.

use crate::placement::{
    node::{NodePlacement, TaintEffect},
    request::PodRequest,
    unfit::Unfit,
};

/// A taint that the pod does not tolerate and that keeps it away.
pub(super) fn check(node: &NodePlacement, request: &PodRequest) -> Result<(), Unfit> {
    let keeps_away = |effect| matches!(effect, TaintEffect::NoSchedule | TaintEffect::NoExecute);
    if intolerable(node, request, keeps_away) > 0 {
        return Err(Unfit::Taint);
    }
    Ok(())
}

/// How many taints would rather not have the pod.
pub fn preferred_taints(node: &NodePlacement, request: &PodRequest) -> usize {
    intolerable(node, request, |effect| {
        effect == TaintEffect::PreferNoSchedule
    })
}

fn intolerable(
    node: &NodePlacement,
    request: &PodRequest,
    of: impl Fn(TaintEffect) -> bool,
) -> usize {
    node.taints()
        .iter()
        .filter(|taint| taint.level == request.level && of(taint.effect))
        .filter(|taint| {
            !request
                .tolerations
                .iter()
                .any(|toleration| toleration.tolerates(taint))
        })
        .count()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        placement::{node::Taint, request::Toleration},
        qos::Level,
    };

    fn tolerating(key: &str, exists: bool, value: &str) -> Toleration {
        Toleration {
            key: key.into(),
            exists,
            value: value.into(),
            effect: None,
        }
    }

    #[rstest]
    #[case(Level::Shared, vec![], Ok(()))]
    #[case(Level::Reclaimed, vec![], Err(Unfit::Taint))]
    #[case(Level::Reclaimed, vec![tolerating("pressure", true, "")], Ok(()))]
    #[case(Level::Reclaimed, vec![tolerating("pressure", false, "cpu")], Ok(()))]
    #[case(Level::Reclaimed, vec![tolerating("pressure", false, "memory")], Err(Unfit::Taint))]
    #[case(Level::Reclaimed, vec![tolerating("", true, "")], Ok(()))]
    #[case(Level::Reclaimed, vec![tolerating("", false, "cpu")], Err(Unfit::Taint))]
    #[case(Level::Reclaimed, vec![Toleration { effect: Some(TaintEffect::NoExecute), ..tolerating("", true, "") }], Err(Unfit::Taint))]
    fn a_taint_is_for_one_level_and_may_be_tolerated(
        #[case] level: Level,
        #[case] tolerations: Vec<Toleration>,
        #[case] expected: Result<(), Unfit>,
    ) {
        let mut node = NodePlacement::default();
        let taint = |effect| Taint {
            key: "pressure".into(),
            value: "cpu".into(),
            effect,
            level: Level::Reclaimed,
        };
        let request = PodRequest {
            level,
            tolerations: tolerations.into(),
            ..PodRequest::default()
        };
        node.set_taints([taint(TaintEffect::NoSchedule)].into());
        assert_eq!(check(&node, &request), expected);
        node.set_taints([taint(TaintEffect::PreferNoSchedule)].into());
        assert_eq!(check(&node, &request), Ok(()));
        let intolerable = usize::from(
            level == Level::Reclaimed
                && !request
                    .tolerations
                    .iter()
                    .any(|toleration| toleration.tolerates(&node.taints()[0])),
        );
        assert_eq!(preferred_taints(&node, &request), intolerable);
    }
}
