"""A soak of the ledger: mixed traffic under faults, then the database against the upstreams' own bill."""
