"""What reading and writing PostgreSQL share: the address, the catalog, vectors on the wire."""
