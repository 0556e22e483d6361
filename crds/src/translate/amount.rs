//! Lists of resources and pairs of amounts.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use katalyst_core::quantity::{
    QuantityError, format_bytes, format_millicpu, parse_bytes, parse_count, parse_millicpu,
};
use katalyst_core::reclaimed::Reclaimed;
use katalyst_core::units::{Bytes, Millicpu};
use thiserror::Error;

use crate::constants::resource;
use crate::node::ResourceList;

/// An amount in a list of resources that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{resource}: {source}")]
pub struct AmountError {
    /// The resource.
    pub resource: &'static str,
    /// What is wrong with its amount, with the amount.
    pub source: QuantityError,
}

/// The amounts of the two reclaimed resources; zero where one is absent.
pub fn read_reclaimed(list: &ResourceList) -> Result<Reclaimed, AmountError> {
    Ok(Reclaimed {
        cpu: read(list, resource::RECLAIMED_MILLICPU, |text| {
            parse_count(text).map(Millicpu::new)
        })?,
        memory: read(list, resource::RECLAIMED_MEMORY, parse_bytes)?,
    })
}

/// The amounts of `cpu` and `memory`; zero where one is absent.
pub fn read_cpu_and_memory(list: &ResourceList) -> Result<Reclaimed, AmountError> {
    Ok(Reclaimed {
        cpu: read(list, resource::CPU, parse_millicpu)?,
        memory: read(list, resource::MEMORY, parse_bytes)?,
    })
}

/// The two reclaimed resources as Kubernetes writes them: CPU as a whole number of thousandths, memory short and exact.
pub fn reclaimed_list(amounts: &Reclaimed) -> ResourceList {
    list([
        (resource::RECLAIMED_MILLICPU, amounts.cpu.get().to_string()),
        (resource::RECLAIMED_MEMORY, format_bytes(amounts.memory)),
    ])
}

/// The amounts as `cpu` (cores) and `memory`.
pub fn machine_list(amounts: &Reclaimed) -> ResourceList {
    list([
        (resource::CPU, format_millicpu(amounts.cpu)),
        (resource::MEMORY, format_bytes(amounts.memory)),
    ])
}

/// The amounts as two quantities, CPU in cores.
pub fn cpu_and_memory(amounts: &Reclaimed) -> (Quantity, Quantity) {
    (cpu(amounts.cpu.get()), memory(amounts.memory.get()))
}

/// A number of thousandths of a CPU.
pub(super) fn cpu(millicpu: u64) -> Quantity {
    Quantity(format_millicpu(Millicpu::new(millicpu)))
}

/// A number of bytes.
pub(super) fn memory(bytes: u64) -> Quantity {
    Quantity(format_bytes(Bytes::new(bytes)))
}

fn read<T: Default>(
    list: &ResourceList,
    resource: &'static str,
    parse: impl FnOnce(&str) -> Result<T, QuantityError>,
) -> Result<T, AmountError> {
    list.get(resource)
        .map(|quantity| parse(&quantity.0).map_err(|source| AmountError { resource, source }))
        .transpose()
        .map(Option::unwrap_or_default)
}

fn list<const N: usize>(entries: [(&str, String); N]) -> ResourceList {
    entries
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let amounts = Reclaimed::new(3500, 3 << 29);
        assert_eq!(read_reclaimed(&reclaimed_list(&amounts)), Ok(amounts));
        assert_eq!(read_cpu_and_memory(&machine_list(&amounts)), Ok(amounts));
        assert_eq!(
            serde_json::to_value(reclaimed_list(&amounts)).unwrap(),
            serde_json::json!({
                "resource.katalyst.kubewharf.io/reclaimed_millicpu": "3500",
                "resource.katalyst.kubewharf.io/reclaimed_memory": "1536Mi",
            })
        );
        assert_eq!(
            serde_json::to_value(machine_list(&amounts)).unwrap(),
            serde_json::json!({ "cpu": "3500m", "memory": "1536Mi" })
        );
    }

    #[test]
    fn reclaimed_cpu_is_a_count_of_thousandths_and_absent_is_zero() {
        let list = list([(resource::RECLAIMED_MILLICPU, "4k".to_owned())]);
        assert_eq!(read_reclaimed(&list), Ok(Reclaimed::new(4000, 0)));
        assert_eq!(read_cpu_and_memory(&list), Ok(Reclaimed::ZERO));
    }

    #[test]
    fn an_error_names_resource_and_value() {
        let list = list([(resource::RECLAIMED_MEMORY, "1 GiB".to_owned())]);
        let error = read_reclaimed(&list).unwrap_err().to_string();
        assert!(error.contains(resource::RECLAIMED_MEMORY), "{error}");
        assert!(error.contains("1 GiB"), "{error}");
    }
}
