//! `/proc/driver/nvidia/gpus/ADDRESS/information` of NVIDIA's kernel driver: lines of `Key: \t value`.

/// Longest text taken over; models and UUIDs have less than 100 characters.
pub const TEXT: usize = 128;

/// What the driver says of a GPU. A value in question marks (`GPU-????????-...`: the card is not initialised) is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Information {
    /// Model.
    pub model: Option<String>,
    /// `GPU-...`.
    pub uuid: Option<String>,
    /// N of `/dev/nvidiaN`.
    pub minor: Option<u32>,
}

/// Parses the file.
pub fn parse_information(text: &str) -> Information {
    let mut information = Information::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.trim();
        let known = || {
            (!value.is_empty() && !value.contains('?')).then(|| value.chars().take(TEXT).collect())
        };
        match key.trim() {
            "Model" => information.model = known(),
            "GPU UUID" => information.uuid = known(),
            "Device Minor" => information.minor = value.parse().ok(),
            _ => {}
        }
    }
    information
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_uuid_and_minor() {
        let text = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 17\nGPU UUID: \t GPU-8f6c0b5e-1f2a-4b3c-9d4e-5f6071829304\nBus Location: \t 0000:3d:00.0\nDevice Minor: \t 3\nGPU Excluded:\t No\n";
        let information = parse_information(text);
        assert_eq!(information.model.as_deref(), Some("NVIDIA H100 80GB HBM3"));
        assert_eq!(
            information.uuid.as_deref(),
            Some("GPU-8f6c0b5e-1f2a-4b3c-9d4e-5f6071829304")
        );
        assert_eq!(information.minor, Some(3));
        let asleep = parse_information("GPU UUID: \t GPU-????????-????-????-????-????????????\n");
        assert_eq!(asleep, Information::default());
    }
}
