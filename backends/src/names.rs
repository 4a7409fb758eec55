//! The standard's spelling of KMIP enumeration values, for error texts.

use keygate_kmip::{
    BlockCipherMode, CryptographicAlgorithm, HashingAlgorithm, KeyFormatType, PaddingMethod, RecommendedCurve,
};

macro_rules! names {
    ($($function:ident($type:ty)),* $(,)?) => {
        $(
            pub(crate) fn $function(value: $type) -> String {
                match value.xml_name() {
                    Some(name) => name.to_owned(),
                    None => format!("0x{:08X}", value.code()),
                }
            }
        )*
    };
}

names! {
    algorithm(CryptographicAlgorithm),
    curve(RecommendedCurve),
    format(KeyFormatType),
    hash(HashingAlgorithm),
    mode(BlockCipherMode),
    padding(PaddingMethod),
}
