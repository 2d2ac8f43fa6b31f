"""Jobs: files and batches that outlive the request that made them, and this process."""
