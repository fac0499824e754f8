"""What proves that an installation works: recorded requests and the replies they must get."""
