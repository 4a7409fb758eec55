//! Get Attributes, Get Attribute List, Add, Adjust, Modify, Set and Delete Attribute: KMIP 2.1 §6.1.21, §6.1.22, §6.1.2,
//! §6.1.3, §6.1.32, §6.1.55, §6.1.12.

use crate::codec::{AnyValue, structure};
use crate::{AdjustmentType, AttributeInstance, AttributeName, Attributes, ProtocolVersion, UniqueIdentifier};

const V1_4: ProtocolVersion = ProtocolVersion::V1_4;
const V2_0: ProtocolVersion = ProtocolVersion::V2_0;

structure! {
    /// Get Attributes request.
    GetAttributesRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Which; all if none.
        names: names AttributeName = ATTRIBUTE_NAME;
    }
}

structure! {
    /// Get Attributes response.
    GetAttributesResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Its attributes.
        attributes: flat Attributes = ATTRIBUTES;
    }
}

structure! {
    /// Get Attribute List request.
    GetAttributeListRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
    }
}

structure! {
    /// Get Attribute List response.
    GetAttributeListResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Names of its attributes.
        names: names AttributeName = ATTRIBUTE_NAME;
    }
}

structure! {
    /// Add Attribute request.
    AddAttributeRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// The attribute to add.
        attribute: attribute AttributeInstance = ATTRIBUTE;
    }
}

structure! {
    /// Add Attribute response.
    AddAttributeResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// The attribute as added.
        attribute: optional AttributeInstance = ATTRIBUTE in ..=V1_4;
    }
}

structure! {
    /// Adjust Attribute request.
    AdjustAttributeRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// The attribute to adjust.
        name: required AttributeName = ATTRIBUTE_REFERENCE;
        /// Adjustment Type.
        adjustment_type: required AdjustmentType = ADJUSTMENT_TYPE;
        /// Adjustment Value, of the attribute's type; 1 if absent.
        adjustment_value: optional AnyValue = ADJUSTMENT_VALUE;
    }
}

structure! {
    /// Adjust Attribute response.
    AdjustAttributeResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
    }
}

structure! {
    /// Modify Attribute request.
    ModifyAttributeRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Current Attribute: which instance to change.
        current: optional AttributeInstance = CURRENT_ATTRIBUTE in V2_0..;
        /// The new value.
        attribute: attribute AttributeInstance = ATTRIBUTE;
    }
}

structure! {
    /// Modify Attribute response.
    ModifyAttributeResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// The attribute as changed.
        attribute: optional AttributeInstance = ATTRIBUTE in ..=V1_4;
    }
}

structure! {
    /// Set Attribute request.
    SetAttributeRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// The value to set.
        attribute: required AttributeInstance = NEW_ATTRIBUTE;
    }
}

structure! {
    /// Set Attribute response.
    SetAttributeResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
    }
}

structure! {
    /// Delete Attribute request.
    DeleteAttributeRequest {
        /// The object; the ID placeholder if absent.
        unique_identifier: optional UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// Current Attribute: the instance to delete.
        current: optional AttributeInstance = CURRENT_ATTRIBUTE in V2_0..;
        /// Name of what to delete.
        name: optional_name AttributeName = ATTRIBUTE_NAME;
        /// Attribute Index; absent means 0.
        index: optional i32 = ATTRIBUTE_INDEX in ..=V1_4;
    }
}

structure! {
    /// Delete Attribute response.
    DeleteAttributeResponse {
        /// The object.
        unique_identifier: required UniqueIdentifier = UNIQUE_IDENTIFIER;
        /// The attribute that was deleted.
        attribute: optional AttributeInstance = ATTRIBUTE in ..=V1_4;
    }
}
