"""What the user wrote, made into one frozen, validated `Settings`."""
