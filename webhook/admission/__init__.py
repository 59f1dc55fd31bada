"""The core: from an AdmissionReview to the answer, without HTTP, clock, or I/O."""
