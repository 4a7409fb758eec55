//! Poll, Cancel, Process, Query Asynchronous Requests: KMIP 2.1 §6.1.38, §6.1.5, §6.1.39, §6.1.41.

use crate::codec::{DateTimeExtended, structure};
use crate::{CancellationResult, Operation, ProcessingStage};

structure! {
    /// Poll request.
    PollRequest {
        /// The batch item that is asked for.
        asynchronous_correlation_value: required Vec<u8> = ASYNCHRONOUS_CORRELATION_VALUE;
    }
}

structure! {
    /// Never sent: the answer to a Poll is that of the operation polled for.
    PollResponse {}
}

structure! {
    /// Cancel request.
    CancelRequest {
        /// The batch item that is not wanted any more.
        asynchronous_correlation_value: required Vec<u8> = ASYNCHRONOUS_CORRELATION_VALUE;
    }
}

structure! {
    /// Cancel response.
    CancelResponse {
        /// As in the request.
        asynchronous_correlation_value: required Vec<u8> = ASYNCHRONOUS_CORRELATION_VALUE;
        /// What became of the batch item.
        cancellation_result: required CancellationResult = CANCELLATION_RESULT;
    }
}

structure! {
    /// Process request.
    ProcessRequest {
        /// The batch item that is wanted now.
        asynchronous_correlation_value: required Vec<u8> = ASYNCHRONOUS_CORRELATION_VALUE;
    }
}

structure! {
    /// Process response.
    ProcessResponse {}
}

structure! {
    /// Asynchronous Correlation Values, KMIP 2.1 §7.1.
    AsynchronousCorrelationValues {
        /// The values.
        values: repeated Vec<u8> = ASYNCHRONOUS_CORRELATION_VALUE;
    }
}

structure! {
    /// Operations, KMIP 2.1 §7.25.
    Operations {
        /// The operations.
        operations: repeated Operation = OPERATION;
    }
}

structure! {
    /// Query Asynchronous Requests request: which; all of the caller's if nothing is said.
    #[derive(Default)]
    QueryAsynchronousRequestsRequest {
        /// Those with one of these values.
        correlation_values: optional AsynchronousCorrelationValues = ASYNCHRONOUS_CORRELATION_VALUES;
        /// Those of one of these operations.
        operations: optional Operations = OPERATIONS;
    }
}

structure! {
    /// Query Asynchronous Requests response.
    QueryAsynchronousRequestsResponse {
        /// The batch items whose results are outstanding.
        requests: repeated AsynchronousRequest = ASYNCHRONOUS_REQUEST;
    }
}

structure! {
    /// Asynchronous Request, KMIP 2.1 §7.2: one batch item.
    AsynchronousRequest {
        /// Its Asynchronous Correlation Value.
        asynchronous_correlation_value: required Vec<u8> = ASYNCHRONOUS_CORRELATION_VALUE;
        /// Its operation.
        operation: required Operation = OPERATION;
        /// When it was sent.
        submission_date: required DateTimeExtended = SUBMISSION_DATE;
        /// How far it is.
        processing_stage: required ProcessingStage = PROCESSING_STAGE;
    }
}
