"""What stands behind `Client`, `JetService` and `Job`: carrying out jobs, steering them, and who they belong to."""
