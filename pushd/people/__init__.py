"""Who there is: accounts, who follows whom, and what each user is subscribed to by the server."""

PEOPLE_FILE = "people.db"  # in `persistence_location`, where no Redis is named
