//! PKCS#11: a call of the C interface of tokens, KMIP 2.1 §6.1.37. What the parameters mean is the server's business.

use crate::codec::{Secret, structure};
use crate::{Pkcs11Function, Pkcs11ReturnCode};

structure! {
    /// PKCS#11 request.
    Pkcs11Request {
        /// Name of the interface; the standard one if absent.
        interface: optional String = PKCS_11_INTERFACE;
        /// The function.
        function: required Pkcs11Function = PKCS_11_FUNCTION;
        /// The application that calls, as C_Initialize answered it.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE;
        /// Input parameters, encoded one after the other.
        input_parameters: optional Secret = PKCS_11_INPUT_PARAMETERS;
    }
}

structure! {
    /// PKCS#11 response.
    Pkcs11Response {
        /// Name of the interface, as the request had it.
        interface: optional String = PKCS_11_INTERFACE;
        /// The function, as the request had it.
        function: required Pkcs11Function = PKCS_11_FUNCTION;
        /// The application that calls.
        correlation_value: optional Vec<u8> = CORRELATION_VALUE;
        /// Output parameters, encoded one after the other.
        output_parameters: optional Secret = PKCS_11_OUTPUT_PARAMETERS;
        /// What the function returned.
        return_code: required Pkcs11ReturnCode = PKCS_11_RETURN_CODE;
    }
}
