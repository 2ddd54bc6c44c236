"""What valid requests and answers are, as schemas of marshmallow: one file for each subject."""
