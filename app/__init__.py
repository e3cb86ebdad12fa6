"""The web page; speaks to `speechgen.service` alone. An installed wheel carries it as `speechgen_app`."""
