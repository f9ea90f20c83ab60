"""Stand-ins for vendor SDKs that cannot be had here; the folder is put on the path of the workers that use one."""
