"""The only part of jetbridge that imports apache_beam."""
