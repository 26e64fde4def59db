"""What people see in a browser: the console, Swagger UI and what both load, served by an RPC like everything else."""
