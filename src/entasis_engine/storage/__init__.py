"""What is kept on disk: the database, its exact column types, and one store per kind of record."""
