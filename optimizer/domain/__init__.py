"""What a problem is made of: pure, frozen values; no file is read here."""
